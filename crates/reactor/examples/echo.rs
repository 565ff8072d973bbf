//! An echo server, for measuring the reactor alone: `echo ADDRESS [portable|uring] [CORES]`.

use std::net::SocketAddr;

use kern_reactor::driver::Choice;
use kern_reactor::{App, Cluster, Event, Io, Listen, Options};

struct Echo(SocketAddr);

impl App for Echo {
    type Post = ();

    fn start(&mut self, io: &mut Io<()>) {
        let at = Listen::Tcp { address: self.0, shared: true };
        if let Err(error) = io.listen(&at) {
            eprintln!("{}: {error}", self.0);
            io.leave();
        }
    }

    fn event(&mut self, io: &mut Io<()>, event: Event<()>) {
        match event {
            Event::Received { stream, chunk } => io.send(stream, &chunk),
            Event::Finished { stream } => io.finish(stream),
            Event::Signal(_) | Event::Retire => io.leave(),
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let address: SocketAddr = args.first().map_or("127.0.0.1:7000", String::as_str).parse()?;
    let driver = match args.get(1).map(String::as_str) {
        None => Choice::Auto,
        Some("portable") => Choice::Portable,
        Some("uring") => Choice::Uring,
        Some(other) => return Err(format!("there is no driver {other:?}").into()),
    };
    let cores = args.get(2).map_or(Ok(1), |cores| cores.parse())?;
    let options = Options { cores, driver, signals: true, ..Options::default() };
    Cluster::start(options, move |_| Echo(address))?.join()?;
    Ok(())
}
