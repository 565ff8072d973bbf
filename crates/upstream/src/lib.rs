//! Who answers, and is it alive: handshakes, restarts, links to MCP servers.
