//! Setters for structs of options.

/// Defines `options.name(value)` for each named field.
macro_rules! setters {
    ($($name:ident: $type:ty),+ $(,)?) => {
        $(
            #[doc = concat!("Sets [`", stringify!($name), "`](field@Self::", stringify!($name), ").")]
            #[must_use]
            pub fn $name(mut self, $name: $type) -> Self {
                self.$name = $name;
                self
            }
        )+
    };
}
pub(crate) use setters;
