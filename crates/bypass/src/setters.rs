//! The setters that the options of all drivers share.

/// Setters of `tcp`, a field that is a [`StackConfig`](hioload_tcp::StackConfig).
macro_rules! stack_setters {
    () => {
        /// Adds an address of the server with the prefix length of its network.
        #[must_use]
        pub fn address(mut self, address: hioload_tcp::Cidr) -> Self {
            self.tcp.addresses.push(address);
            self
        }

        /// Sets the router for connections to other networks: one for IPv4, one for IPv6.
        #[must_use]
        pub fn gateway(mut self, gateway: std::net::IpAddr) -> Self {
            match gateway {
                std::net::IpAddr::V4(v4) => self.tcp.gateway_v4 = Some(v4),
                std::net::IpAddr::V6(v6) => self.tcp.gateway_v6 = Some(v6),
            }
            self
        }
    };
}
pub(crate) use stack_setters;
