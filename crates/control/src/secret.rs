//! How is a value named in a file without being written there, and read only when used?
//!
//! A [`Template`] is literal text with references in it. Each client spells references its own way
//! ([`Syntax`]); all of them become the same parts. Invariants: neither `Debug` nor `Display` of a
//! [`Template`] or a [`Secret`] shows a value; parsing reads no environment and no file.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::limits;
use crate::surroundings::{ReadError, Surroundings, read_bounded};

/// A value that may be printed by nobody.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps `value`.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the one place that sends it on.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One piece of a template.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Part {
    Text(String),
    Env { name: String, default: Option<String> },
    File(PathBuf),
}

/// Text with references to values that are read on use.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Template {
    parts: Vec<Part>,
}

/// How references are written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// `kern.toml`: `${env:NAME}`, `${env:NAME:-default}`, `${file:PATH}`; `$${` is a plain `${`;
    /// any other `${` is an error.
    Kern,
    /// Editors: `${env:NAME}`, `${workspaceFolder}`, `${userHome}` and the like; `${input:…}` and
    /// what else asks the user is an error.
    Editor,
    /// Claude Code, Copilot, Goose: `${NAME}` and `${NAME:-default}`.
    Braces,
    /// Gemini: as `Braces`, and `$NAME`.
    Dollar,
    /// Nothing is expanded.
    None,
}

/// What references may mean besides the environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// How they are written.
    pub(crate) syntax: Syntax,
    /// Base of relative `${file:…}` paths.
    pub(crate) folder: &'a Path,
    /// `${workspaceFolder}`, where there is one.
    pub(crate) workspace: Option<&'a Path>,
    /// `${userHome}` and `~/`.
    pub(crate) home: Option<&'a Path>,
}

/// Why text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// `${` without `}`.
    Unclosed,
    /// A reference that only the client can answer, by asking its user.
    NeedsClient(String),
    /// A reference of no known kind.
    Unknown(String),
    /// The name of a variable is empty or has other characters than letters, digits and `_`.
    BadName(String),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed => f.write_str("`${` is never closed; write `$${` for a plain `${`"),
            Self::NeedsClient(body) => {
                write!(f, "`${{{body}}}` can only be filled in by the client it was written for")
            }
            Self::Unknown(body) => {
                write!(f, "`${{{body}}}` is no reference; write ")?;
                if is_variable(body) {
                    write!(f, "`${{env:{body}}}`")
                } else {
                    f.write_str("`${env:NAME}` or `${file:PATH}`")
                }
            }
            Self::BadName(name) => write!(f, "`{name}` is no name of an environment variable"),
        }
    }
}

/// A reference that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissingValue {
    /// The environment has no such variable.
    Variable(String),
    /// The file cannot be read, with the reason.
    File(PathBuf, String),
}

impl fmt::Display for MissingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "the environment variable {name} is not set"),
            Self::File(path, why) => write!(f, "{} cannot be read: {why}", path.display()),
        }
    }
}

impl MissingValue {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Variable(name) => format!("export {name}=… before starting kern"),
            Self::File(path, _) => format!("create {} with the value in it", path.display()),
        }
    }
}

impl Template {
    /// Text without references.
    pub fn literal(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { parts: if text.is_empty() { Vec::new() } else { vec![Part::Text(text)] } }
    }

    /// The value of the variable `name`, after the text `prefix`.
    pub(crate) fn variable(prefix: &str, name: &str) -> Self {
        let mut template = Self::literal(prefix);
        template.parts.push(Part::Env { name: name.to_owned(), default: None });
        template
    }

    /// Reads `text` as `scope` says.
    pub(crate) fn parse(text: &str, scope: &Scope<'_>) -> Result<Self, TemplateError> {
        let mut template = Self::default();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            template.push_text(&rest[..at]);
            rest = template.reference(&rest[at..], scope)?;
        }
        template.push_text(rest);
        Ok(template)
    }

    /// Reads what starts with `$`; returns the text after it.
    fn reference<'t>(
        &mut self,
        text: &'t str,
        scope: &Scope<'_>,
    ) -> Result<&'t str, TemplateError> {
        debug_assert!(text.starts_with('$'));
        if scope.syntax == Syntax::Kern && text.starts_with("$${") {
            self.push_text("${");
            return Ok(&text[3..]);
        }
        if scope.syntax != Syntax::None && text.starts_with("${") {
            let Some(end) = text.find('}') else {
                if scope.syntax == Syntax::Kern {
                    return Err(TemplateError::Unclosed);
                }
                self.push_text("$");
                return Ok(&text[1..]);
            };
            self.braced(&text[2..end], scope)?;
            return Ok(&text[end + 1..]);
        }
        let name = &text[1..];
        let length = name.find(|c: char| !is_name(c)).unwrap_or(name.len());
        if scope.syntax == Syntax::Dollar && is_variable(&name[..length]) {
            self.parts.push(Part::Env { name: name[..length].to_owned(), default: None });
            return Ok(&name[length..]);
        }
        self.push_text("$");
        Ok(name)
    }

    /// Reads the inside of `${…}`.
    fn braced(&mut self, body: &str, scope: &Scope<'_>) -> Result<(), TemplateError> {
        match scope.syntax {
            Syntax::Kern => match body.split_once(':') {
                Some(("env", name)) => self.push_variable(name),
                Some(("file", path)) if !path.is_empty() => {
                    self.parts.push(Part::File(anchored(path, scope)));
                    Ok(())
                }
                _ => Err(TemplateError::Unknown(body.to_owned())),
            },
            Syntax::Editor => self.editor(body, scope),
            Syntax::Braces | Syntax::Dollar => {
                let name = body.split_once(":-").map_or(body, |(name, _)| name);
                if is_variable(name) {
                    return self.push_variable(body);
                }
                self.push_text(&format!("${{{body}}}"));
                Ok(())
            }
            Syntax::None => unreachable!("nothing is expanded"),
        }
    }

    /// Reads the inside of an editor's `${…}`.
    fn editor(&mut self, body: &str, scope: &Scope<'_>) -> Result<(), TemplateError> {
        let lossy = |path: &Path| path.to_string_lossy().into_owned();
        let known = match body {
            "workspaceFolder" | "workspaceRoot" => scope.workspace.map(lossy),
            "workspaceFolderBasename" => {
                scope.workspace.and_then(Path::file_name).map(|name| lossy(Path::new(name)))
            }
            "userHome" => scope.home.map(lossy),
            "pathSeparator" | "/" => Some(std::path::MAIN_SEPARATOR_STR.to_owned()),
            _ => None,
        };
        if let Some(text) = known {
            self.push_text(&text);
            return Ok(());
        }
        match body.split_once(':') {
            Some(("env", name)) => self.push_variable(name),
            _ => Err(TemplateError::NeedsClient(body.to_owned())),
        }
    }

    fn push_variable(&mut self, body: &str) -> Result<(), TemplateError> {
        let (name, default) = match body.split_once(":-") {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (body, None),
        };
        if !is_variable(name) {
            return Err(TemplateError::BadName(name.to_owned()));
        }
        self.parts.push(Part::Env { name: name.to_owned(), default });
        Ok(())
    }

    fn push_text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.parts.last_mut() {
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The text, if there is no reference in it.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with references spelled as in `kern.toml` and literal parts in clear. Only for
    /// what is no secret by itself: a program's name, an URL's host.
    pub fn source_in_clear(&self) -> String {
        self.spell(|text| text.to_owned())
    }

    fn spell(&self, text: impl Fn(&str) -> String) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(literal) => text(literal),
                Part::Env { name, .. } => format!("${{env:{name}}}"),
                Part::File(path) => format!("${{file:{}}}", path.display()),
            })
            .collect()
    }

    /// Reads every reference and joins the parts. A variable that is set but empty counts as
    /// missing only where the reference has a default, as in a shell.
    pub fn resolve(&self, surroundings: &Surroundings) -> Result<Secret, MissingValue> {
        let mut value = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Env { name, default } => {
                    match (surroundings.variable(name), default.as_deref()) {
                        (Some(""), Some(default)) | (None, Some(default)) => {
                            value.push_str(default);
                        }
                        (Some(found), _) => value.push_str(found),
                        (None, None) => return Err(MissingValue::Variable(name.clone())),
                    }
                }
                Part::File(path) => {
                    let text = read_bounded(path, limits::SECRET_FILE_BYTES_MAX)
                        .map_err(|why| missing_file(path, &why))?;
                    value.push_str(text.trim_end_matches(['\r', '\n']));
                }
            }
        }
        Ok(Secret(value))
    }
}

fn missing_file(path: &Path, why: &ReadError) -> MissingValue {
    MissingValue::File(path.to_owned(), why.to_string())
}

/// `path` made absolute: `~/` from the home folder, relative ones from the file's folder.
pub(crate) fn anchored(path: &str, scope: &Scope<'_>) -> PathBuf {
    match (path.strip_prefix("~/"), scope.home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => scope.folder.join(path),
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether `name` can be an environment variable's.
pub(crate) fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_name) && !name.starts_with(|c: char| c.is_ascii_digit())
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spell(|_| "***".to_owned()))
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        Surroundings::fixture().with_variable("TOKEN", "s3cret").with_variable("EMPTY", "")
    }

    #[track_caller]
    fn check(syntax: Syntax, cases: &[(&str, &str)]) {
        let around = around();
        let scope = Scope {
            syntax,
            folder: Path::new("/conf"),
            workspace: Some(Path::new("/ws/proj")),
            home: Some(Path::new("/home/u")),
        };
        for (text, expected) in cases {
            let found = match Template::parse(text, &scope) {
                Err(error) => format!("refused: {error}"),
                Ok(template) => {
                    assert!(!format!("{template:?} {template}").contains("s3cret"));
                    match template.resolve(&around) {
                        Ok(secret) => secret.expose().to_owned(),
                        Err(missing) => format!("missing: {missing}"),
                    }
                }
            };
            assert!(found.starts_with(expected), "{text}: {found}");
        }
    }

    #[test]
    #[cfg_attr(not(unix), ignore = "needs files that only Unix has")]
    fn references_of_kern_toml_are_read_on_use() {
        check(
            Syntax::Kern,
            &[
                ("plain $5 text", "plain $5 text"),
                ("Bearer ${env:TOKEN}!", "Bearer s3cret!"),
                ("${env:NOPE:-x}${env:EMPTY:-y}", "xy"),
                ("${env:EMPTY}", ""),
                ("$${env:TOKEN}", "${env:TOKEN}"),
                ("${env:NOPE}", "missing: the environment variable NOPE is not set"),
                ("${file:none}", "missing: /conf/none cannot be read"),
                ("${file:~/none}", "missing: /home/u/none cannot be read"),
                ("${TOKEN}", "refused: `${TOKEN}` is no reference; write `${env:TOKEN}`"),
                ("${env:}", "refused: `` is no name"),
                ("${env:9}", "refused: `9` is no name"),
                ("${", "refused: `${` is never closed"),
            ],
        );
    }

    #[test]
    fn each_clients_spelling_means_what_it_means_there() {
        check(
            Syntax::Editor,
            &[
                ("${env:TOKEN}", "s3cret"),
                ("${workspaceFolder}/x", "/ws/proj/x"),
                ("${workspaceFolderBasename}", "proj"),
                ("${userHome}", "/home/u"),
                ("${input:key}", "refused: `${input:key}` can only be filled in by the client"),
                ("$TOKEN ${", "$TOKEN ${"),
            ],
        );
        check(
            Syntax::Braces,
            &[
                ("${TOKEN}", "s3cret"),
                ("${NOPE:-d}", "d"),
                ("$TOKEN", "$TOKEN"),
                ("${a b}", "${a b}"),
            ],
        );
        check(
            Syntax::Dollar,
            &[("$TOKEN.", "s3cret."), ("${TOKEN}", "s3cret"), ("$5 $", "$5 $"), ("$é", "$é")],
        );
        check(Syntax::None, &[("${TOKEN} $TOKEN $${", "${TOKEN} $TOKEN $${")]);
    }

    #[test]
    fn printing_a_template_shows_no_literal() {
        let scope =
            Scope { syntax: Syntax::Kern, folder: Path::new("/"), workspace: None, home: None };
        let template = Template::parse("ghp_abc${env:X}", &scope).expect("valid");
        assert_eq!(format!("{template:?}"), "Template(***${env:X})");
        assert_eq!(format!("{:?}", Secret::new("v".into())), "Secret(***)");
    }
}
