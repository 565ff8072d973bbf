//! Who speaks, and in which revision.
