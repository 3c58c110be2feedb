//! The setters of option structs.

/// Declares a method for each field of an option struct. It sets the field and returns the options.
macro_rules! setters {
    ($name:ident { $($field:ident: $type:ty,)* }) => {
        impl $name {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

pub(crate) use setters;
