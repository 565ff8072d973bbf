//! One event loop per core: drivers, timers, posts, watermarks, watchdog.
