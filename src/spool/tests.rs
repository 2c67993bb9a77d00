//! The spool with a queue on the disk and upstreams by script.
