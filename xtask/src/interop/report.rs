//! The table client × transport × server, and what it means.

use super::servers::Server;

/// One client over one transport.
#[derive(Debug)]
pub(super) struct Row {
    client: String,
    era: &'static str,
    transport: &'static str,
    pub(super) revision: String,
    pub(super) tools: usize,
    /// For each server it asked: its name, and how its answers differ.
    servers: Vec<(&'static str, Result<(), String>)>,
}

impl Row {
    pub(super) fn new(client: &str, era: &'static str, transport: &'static str) -> Self {
        let (client, revision) = (client.to_owned(), "-".to_owned());
        Self { client, era, transport, revision, tools: 0, servers: Vec::new() }
    }

    pub(super) fn judge(&mut self, server: &'static str, differs: Result<(), String>) {
        self.servers.push((server, differs));
    }

    /// Nothing came back.
    pub(super) fn failed(mut self, servers: &[Server], why: &str) -> Self {
        for server in servers {
            self.judge(server.name, Err(why.to_owned()));
        }
        self
    }

    fn mark(&self, server: &str) -> &'static str {
        match self.servers.iter().find(|(name, _)| *name == server) {
            Some((_, Ok(()))) => "ok",
            Some((_, Err(_))) => "FAIL",
            None => "-",
        }
    }
}

/// Prints the table, and below it what differs.
pub(super) fn print(servers: &[Server], rows: &[Row]) {
    print!("{:<24} {:<7} {:<15} {:<11} {:>5}", "client", "era", "transport", "revision", "tools");
    for server in servers {
        print!("  {:<10}", server.name);
    }
    println!();
    for row in rows {
        let (client, era, transport) = (&row.client, row.era, row.transport);
        print!("{client:<24} {era:<7} {transport:<15} {:<11} {:>5}", row.revision, row.tools);
        for server in servers {
            print!("  {:<10}", row.mark(server.name));
        }
        println!();
    }
    for row in rows {
        for (server, differs) in &row.servers {
            if let Err(why) = differs {
                println!("{} ({}) over {}, {server}: {why}", row.client, row.era, row.transport);
            }
        }
    }
}

/// Whether every answer was the server's own.
pub(super) fn verdict(rows: &[Row]) -> Result<(), String> {
    let failures = rows.iter().flat_map(|row| &row.servers).filter(|(_, differs)| differs.is_err());
    match failures.count() {
        0 if rows.is_empty() => Err("no client has such a name".to_owned()),
        0 => Ok(()),
        count => Err(format!("{count} of the answers' sets differ from the servers' own")),
    }
}
