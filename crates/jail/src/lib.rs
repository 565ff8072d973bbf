//! The cage: a small program that starts a server, and leaves nothing behind when it ends.
