//! Where a request goes: the catalog of every upstream's tools, prompts and resources.
