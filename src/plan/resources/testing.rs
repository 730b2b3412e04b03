//! Services that the tests build objects from.
