//! Bytes to frame to message and back, in five protocol revisions.
