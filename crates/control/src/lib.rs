//! Configuration, discovery, consent and diagnosis.
