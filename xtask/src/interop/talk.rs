//! A direct conversation with a server over its stdin and stdout, without any SDK.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::servers::Server;
use super::step::{LISTS, Step};

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(240);

struct Talk {
    server: &'static str,
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    last_id: u64,
}

/// Finds out which lists the server has, puts them before its steps, and sends it every step.
pub(super) fn ask(server: &mut Server) -> Result<(), String> {
    let mut talk = Talk::start(server)?;
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
                        "clientInfo": { "name": "interop", "version": "1.0.0" } });
    let greeting = talk.request("initialize", &hello)?;
    talk.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
    let mut lists = Vec::new();
    for (method, ..) in LISTS {
        let capability = method.split('/').next().unwrap_or_default();
        // Some have resources and no templates, and say so by refusing.
        if !greeting["capabilities"][capability].is_null()
            && talk.request(method, &json!({})).is_ok()
        {
            lists.push(Step::new(method, json!({})));
        }
    }
    server.steps.splice(0..0, lists);
    let answers = server.steps.iter().map(|step| {
        let answer = talk.request(step.method, &step.params);
        // Some steps are there to be refused.
        answer.unwrap_or_else(|error| json!({ "error": error }))
    });
    server.expected = answers.collect();
    Ok(())
}

impl Talk {
    fn start(server: &Server) -> Result<Self, String> {
        let (program, args) = server.command.split_first().expect("a command has a program");
        let mut command = Command::new(program);
        command.args(args).envs(server.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child =
            command.spawn().map_err(|error| format!("cannot start {}: {error}", server.name))?;
        let input = child.stdin.take().ok_or("no stdin")?;
        let output = child.stdout.take().ok_or("no stdout")?;
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            let whole = BufReader::new(output).lines().map_while(Result::ok);
            // The other end is gone once the answers are in.
            let _ = whole.map(|line| tell.send(line)).take_while(Result::is_ok).count();
        });
        Ok(Self { server: server.name, child, input, lines, last_id: 0 })
    }

    fn send(&mut self, message: &Value) -> Result<(), String> {
        let line = format!("{message}\n");
        self.input.write_all(line.as_bytes()).map_err(|error| format!("the server ended: {error}"))
    }

    fn request(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        loop {
            let line = self
                .lines
                .recv_timeout(ANSWER)
                .map_err(|_| format!("no answer to {method} from {} itself", self.server))?;
            let message: Value = serde_json::from_str(&line).unwrap_or_default();
            if message["id"] == id && message["method"].is_null() {
                return match &message["error"] {
                    Value::Null => Ok(message["result"].clone()),
                    error => Err(format!("{method} fails at the server itself: {error}")),
                };
            }
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone after this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
