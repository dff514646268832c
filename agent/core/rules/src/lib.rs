//! Recording and alerting rule groups: what one evaluation yields.
