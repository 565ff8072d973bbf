//! How long a lookup among 10,000 tools takes, and how long the catalog takes to build.
//!
//! `cargo bench -p kern-route`; the promise is 100 ns a lookup.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use kern_route::{ListKind, Lists, PageLimits, View};
use kern_terms::{Era, Revision};

const UPSTREAMS: usize = 20;
const TOOLS: usize = 10_000;

fn page(upstream: usize) -> String {
    let tools: Vec<_> = (0..TOOLS / UPSTREAMS)
        .map(|tool| {
            format!(
                r#"{{"name":"do_thing_number_{tool}","description":"{}","inputSchema":{{"type":"object","properties":{{"path":{{"type":"string","description":"where {upstream} looks"}}}}}}}}"#,
                "Does a thing and says how it went. ".repeat(8)
            )
        })
        .collect();
    format!(r#"{{"tools":[{}],"ttlMs":60000,"cacheScope":"public"}}"#, tools.join(","))
}

/// Runs `work` `rounds` times, five times over; ns per round of the best.
fn best(rounds: usize, mut work: impl FnMut(usize)) -> f64 {
    let time = |work: &mut dyn FnMut(usize)| {
        let start = Instant::now();
        (0..rounds).for_each(work);
        start.elapsed().as_nanos() as f64 / rounds as f64
    };
    (0..5).map(|_| time(&mut work)).fold(f64::INFINITY, f64::min)
}

fn main() {
    let pages: Vec<_> = (0..UPSTREAMS).map(page).collect();
    let parse = || -> Vec<Arc<Lists>> {
        let read = |(at, page): (usize, &String)| {
            let mut lists = Lists::new(format!("upstream{at}"), Revision::LATEST);
            lists.parse_page(ListKind::Tools, page.as_bytes()).expect("a good page");
            Arc::new(lists)
        };
        pages.iter().enumerate().map(read).collect()
    };
    let lists = parse();
    let view = View::merged(&lists);
    assert_eq!(view.len(ListKind::Tools), TOOLS);
    let bytes: usize = pages.iter().map(String::len).sum();
    println!("{TOOLS} tools of {UPSTREAMS} upstreams, {} KiB", bytes >> 10);
    let ms = |ns: f64| ns / 1e6;
    println!("parse lists     {:8.2} ms", ms(best(3, |_| drop(black_box(parse())))));
    println!("build view      {:8.2} ms", ms(best(3, |_| drop(black_box(View::merged(&lists))))));

    // In an order that no prefetcher guesses.
    let names: Vec<_> = view.targets(ListKind::Tools).map(|tool| tool.exposed.to_owned()).collect();
    let order: Vec<&str> = (0..TOOLS).map(|n| &*names[n * 7_919 % TOOLS]).collect();
    let hit = best(1_000_000, |n| {
        black_box(view.tool(black_box(order[n % TOOLS])).expect("served"));
    });
    println!("lookup, found   {hit:8.1} ns");
    let miss = best(1_000_000, |_| {
        black_box(view.tool(black_box("upstream7__no_such_thing")).is_none());
    });
    println!("lookup, missing {miss:8.1} ns");

    let mut out = Vec::new();
    let write = best(20, |_| {
        out.clear();
        let limits = PageLimits { items: TOOLS, bytes: usize::MAX };
        view.page(ListKind::Tools, None, limits)
            .expect("no cursor")
            .write_array(Era::Modern, &mut out);
    });
    println!("write all       {:8.2} ms, {} KiB", ms(write), out.len() >> 10);
    let middle = PageLimits { items: 100, bytes: usize::MAX };
    let cursor = {
        let first = PageLimits { items: TOOLS / 2, ..middle };
        view.page(ListKind::Tools, None, first).expect("no cursor").next.expect("half is left")
    };
    let page = best(1_000, |_| {
        black_box(
            view.page(ListKind::Tools, Some(black_box(&cursor)), middle).expect("own cursor"),
        );
    });
    println!("page of 100     {page:8.0} ns without the copy");
}
