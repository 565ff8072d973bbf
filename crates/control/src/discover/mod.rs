//! Which MCP servers has the user already declared, where, and may they be used?
//!
//! `places` names the files, `read` reads one, this file decides about every entry. Invariants:
//! the answer depends only on the files, the consents and the options; every entry found is in the
//! answer once, used or with the reason why not; used names are unique.

mod client;
mod mirror;
mod places;
mod read;
mod report;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use client::ClientId;
pub use places::Scope;

use crate::config::{Clients, DiscoverPlan, distinct_name, fit_name};
use crate::consent::{Answer, Consent, ConsentRequest, ConsentStore, ContentHash};
use crate::limits::{CLAUDE_STATE_BYTES_MAX, CLIENT_FILE_BYTES_MAX, DISCOVERED_MAX, UPSTREAMS_MAX};
use crate::plan::{Instances, Limits, Origin, UpstreamPlan};
use crate::show::{describe, printable};
use crate::surroundings::{ReadError, Surroundings, read_bounded};
use places::{Place, Shape};
use read::{Content, Entry, Unusable};

/// Everything found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Every file that was looked for, in order of precedence.
    pub files: Vec<FoundFile>,
    /// Every entry, in order of precedence.
    pub findings: Vec<Finding>,
}

/// A file of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Whose.
    pub client: ClientId,
    /// Who wrote it.
    pub scope: Scope,
    /// Where.
    pub path: PathBuf,
    /// What came of it.
    pub state: FileState,
}

/// What came of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// There is none.
    Absent,
    /// Its entries are among the findings.
    Read,
    /// It could not be read or understood; the text is safe to print.
    Unreadable(String),
}

/// An entry of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whose file.
    pub client: ClientId,
    /// Who wrote the file.
    pub scope: Scope,
    /// The file.
    pub path: PathBuf,
    /// Line of the entry, from 1; 0 where the format keeps none.
    pub line: usize,
    /// Its name there.
    pub declared_as: String,
    /// What it starts or calls, safe to print; empty where that could not be read.
    pub what: String,
    /// Whether it is used.
    pub verdict: Verdict,
}

/// Whether an entry is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, under this name.
    Used {
        /// Its name as an upstream.
        name: String,
    },
    /// No.
    Skipped(Reason),
}

/// Why an entry is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It starts or calls this program.
    LeadsBack,
    /// It is switched off in its file.
    Disabled,
    /// It needs what only its client has; says what.
    ClientOnly(String),
    /// It makes no sense; says why.
    Invalid(String),
    /// The same server is used under this name.
    SameAs(String),
    /// The same name is taken by a nearer file of the same client, or by `kern.toml`.
    Shadowed(String),
    /// Its file came with the project and nobody has agreed to it.
    NeedsConsent(Consent),
    /// The configuration leaves it out.
    LeftOut,
    /// There are already as many upstreams as there may be.
    TooMany,
}

/// What decides about entries, besides themselves.
#[derive(Clone, Copy, Debug)]
pub struct DiscoverOptions<'a> {
    /// Whose files count.
    pub plan: &'a DiscoverPlan,
    /// Where this process listens.
    pub listen: Option<SocketAddr>,
    /// Upstreams of `kern.toml`, which come first.
    pub configured: &'a [UpstreamPlan],
    /// Defaults of times.
    pub limits: &'a Limits,
    /// Project files, or folders of them, to trust without asking. Absolute.
    pub trust: &'a [PathBuf],
}

/// Looks for every client's files and decides about every entry. `ask` is called for project files
/// that need consent; answers are noted in `store`.
///
/// Returns what was found and the upstreams to use besides the configured ones, sorted by name.
pub fn discover(
    around: &Surroundings,
    options: &DiscoverOptions<'_>,
    store: &mut ConsentStore,
    ask: &mut dyn FnMut(&ConsentRequest) -> Answer,
) -> (Discovery, Vec<UpstreamPlan>) {
    let mut deciding =
        Deciding { options, discovery: Discovery::default(), used: Vec::new(), owners: Vec::new() };
    for place in places::places(around) {
        let bytes_max = match place.shape {
            Shape::ClaudeState => CLAUDE_STATE_BYTES_MAX,
            _ => CLIENT_FILE_BYTES_MAX,
        };
        let text = read_bounded(&place.path, bytes_max);
        let state = match text {
            Err(ReadError::Absent) => FileState::Absent,
            Err(error) => FileState::Unreadable(error.to_string()),
            Ok(text) => match read::read(&place, &text, around.home.as_deref(), &around.cwd) {
                Ok(entries) => {
                    let consent = deciding.consent(&place, &text, &entries, store, ask);
                    deciding.file(&place, entries, consent);
                    FileState::Read
                }
                Err(problem) => FileState::Unreadable(printable(&format!(
                    "line {}: {}",
                    problem.line, problem.message
                ))),
            },
        };
        let Place { client, scope, path, .. } = place;
        deciding.discovery.files.push(FoundFile { client, scope, path, state });
    }
    let mut upstreams = deciding.used;
    upstreams.sort_by(|a, b| a.name.cmp(&b.name));
    (deciding.discovery, upstreams)
}

struct Deciding<'a> {
    options: &'a DiscoverOptions<'a>,
    discovery: Discovery,
    used: Vec<UpstreamPlan>,
    /// Which client's word each name of `used` was, in the same order.
    owners: Vec<(ClientId, String)>,
}

impl Deciding<'_> {
    /// Whether entries of the file count; asks where nobody has said so.
    fn consent(
        &self,
        place: &Place,
        text: &str,
        entries: &[Entry],
        store: &mut ConsentStore,
        ask: &mut dyn FnMut(&ConsentRequest) -> Answer,
    ) -> Consent {
        if place.scope != Scope::Project {
            return Consent::Granted;
        }
        let hash = ContentHash::of(text);
        let trusted = self.options.trust.iter().any(|path| place.path.starts_with(path));
        if trusted {
            store.note(&place.path, &hash, Answer::Yes);
            return Consent::Granted;
        }
        let state = store.state(&place.path, &hash);
        let commands: Vec<String> = entries
            .iter()
            .filter_map(|entry| entry.content.as_ref().ok())
            .filter(|content| !mirror::leads_back(&content.kind, self.options.listen))
            .map(|content| describe(&content.kind))
            .collect();
        let open = matches!(state, Consent::Unknown | Consent::Changed);
        if !open || commands.is_empty() || !self.wanted(place) {
            return state;
        }
        let changed = state == Consent::Changed;
        let request = ConsentRequest { path: place.path.clone(), changed, commands };
        let answer = ask(&request);
        store.note(&place.path, &hash, answer);
        match answer {
            Answer::Yes => Consent::Granted,
            Answer::No => Consent::Refused,
            Answer::Later => state,
        }
    }

    /// Whether the configuration wants files of this client and scope.
    fn wanted(&self, place: &Place) -> bool {
        let chosen = match &self.options.plan.clients {
            Clients::All => true,
            Clients::None => false,
            Clients::Only(clients) => clients.contains(&place.client),
        };
        chosen && (place.scope != Scope::Project || self.options.plan.project)
    }

    fn file(&mut self, place: &Place, entries: Vec<Entry>, consent: Consent) {
        for entry in entries {
            let what = entry.content.as_ref().map(|content| describe(&content.kind));
            let finding = Finding {
                client: place.client,
                scope: place.scope,
                path: place.path.clone(),
                line: entry.line,
                declared_as: entry.declared_as.clone(),
                what: what.unwrap_or_default(),
                verdict: self.verdict(place, entry, consent),
            };
            self.discovery.findings.push(finding);
        }
    }

    fn verdict(&mut self, place: &Place, entry: Entry, consent: Consent) -> Verdict {
        let content = match entry.content {
            Ok(content) => content,
            Err(Unusable::Disabled) => return Verdict::Skipped(Reason::Disabled),
            Err(Unusable::ClientOnly(why)) => {
                return Verdict::Skipped(Reason::ClientOnly(printable(&why)));
            }
            Err(Unusable::Invalid(why)) => {
                return Verdict::Skipped(Reason::Invalid(printable(&why)));
            }
        };
        if mirror::leads_back(&content.kind, self.options.listen) {
            return Verdict::Skipped(Reason::LeadsBack);
        }
        if !self.wanted(place) || self.options.plan.skip.contains(&entry.declared_as) {
            return Verdict::Skipped(Reason::LeftOut);
        }
        if consent != Consent::Granted {
            return Verdict::Skipped(Reason::NeedsConsent(consent));
        }
        match self.name_for(place.client, &entry.declared_as, &content) {
            Err(reason) => Verdict::Skipped(reason),
            Ok(name) => {
                self.add(place, entry.declared_as, name.clone(), content);
                Verdict::Used { name }
            }
        }
    }

    /// The name the entry gets, or why another takes its place.
    fn name_for(
        &self,
        client: ClientId,
        declared_as: &str,
        content: &Content,
    ) -> Result<String, Reason> {
        let configured = self.options.configured;
        let all = || configured.iter().chain(&self.used);
        let same = |other: &&UpstreamPlan| other.kind == content.kind;
        if let Some(other) = all().find(same).filter(|other| other.tools == content.tools) {
            return Err(Reason::SameAs(other.name.clone()));
        }
        let name = fit_name(declared_as);
        if configured.iter().any(|other| other.name == name) {
            return Err(Reason::Shadowed(name));
        }
        if let Some((_, taken)) =
            self.owners.iter().find(|(owner, taken)| *owner == client && taken == declared_as)
        {
            return Err(Reason::Shadowed(taken.clone()));
        }
        if self.used.len() >= DISCOVERED_MAX || all().count() >= UPSTREAMS_MAX {
            return Err(Reason::TooMany);
        }
        let taken = |name: &str| all().any(|other| other.name == name);
        if !taken(&name) {
            return Ok(name);
        }
        // Another client's server of the same name keeps it.
        Ok(distinct_name(&fit_name(&format!("{name}-{}", client.id())), taken))
    }

    fn add(&mut self, place: &Place, declared_as: String, name: String, content: Content) {
        let limits = self.options.limits;
        self.owners.push((place.client, declared_as.clone()));
        self.used.push(UpstreamPlan {
            name,
            origin: Origin {
                client: place.client.title().to_owned(),
                path: place.path.clone(),
                declared_as,
            },
            kind: content.kind,
            instances: Instances::Auto,
            timeout_ms: content.timeout_ms.unwrap_or(limits.timeout_ms),
            start_timeout_ms: content.start_timeout_ms.unwrap_or(limits.start_timeout_ms),
            tools: content.tools,
        });
    }
}

impl Discovery {
    /// The files that exist and could be read.
    pub fn read_files(&self) -> impl Iterator<Item = &FoundFile> {
        self.files.iter().filter(|file| file.state == FileState::Read)
    }

    /// How many entries are used.
    pub fn used(&self) -> usize {
        let used = |finding: &&Finding| matches!(finding.verdict, Verdict::Used { .. });
        self.findings.iter().filter(used).count()
    }

    /// The project files whose entries wait for consent.
    pub fn awaiting_consent(&self) -> Vec<&Path> {
        let mut paths: Vec<&Path> = self
            .findings
            .iter()
            .filter(|finding| matches!(finding.verdict, Verdict::Skipped(Reason::NeedsConsent(_))))
            .map(|finding| finding.path.as_path())
            .collect();
        paths.dedup();
        paths
    }
}

/// Reads `text` as a file of every client and says how many entries it has in all: the way in for
/// fuzzing. Total: any text gives a number.
pub fn read_as_every_client(text: &str) -> usize {
    let root = Path::new("/");
    let count = |shape| {
        let (client, scope) = (ClientId::Project, Scope::Project);
        let place =
            Place { client, scope, shape, path: root.join("f"), project: Some(root.into()) };
        let entries = read::read(&place, text, Some(root), root).unwrap_or_default();
        for content in entries.iter().filter_map(|entry| entry.content.as_ref().ok()) {
            drop(describe(&content.kind));
        }
        entries.len()
    };
    Shape::ALL.into_iter().map(count).sum()
}

#[cfg(test)]
mod tests;
