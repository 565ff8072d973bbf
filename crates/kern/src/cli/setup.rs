//! From a checked plan to what the cores run by: references read, ids given.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kern_control::{Plan, Surroundings, UpstreamPlan};
use kern_terms::CoreId;

use crate::core::words::{Setup, Spec, UpstreamId};

/// Gives upstreams their ids: an unchanged one keeps its own over a reload.
#[derive(Debug, Default)]
pub(super) struct Setups {
    next: u32,
    known: HashMap<String, (UpstreamPlan, Arc<Spec>)>,
}

impl Setups {
    /// The setup of `plan` for these cores. Its HTTP servers are reached over `unix` if there is one.
    pub(super) fn make(
        &mut self,
        plan: Plan,
        around: &Surroundings,
        cores: Vec<CoreId>,
        keeper: Option<PathBuf>,
        unix: Option<PathBuf>,
    ) -> Setup {
        let mut known = HashMap::new();
        for upstream in &plan.upstreams {
            // What could not be resolved is tried anew: a missing variable may be there now.
            let kept = self
                .known
                .get(&upstream.name)
                .filter(|(before, spec)| before.same_settings(upstream) && spec.launch.is_ok());
            let spec = match kept {
                Some((_, spec)) => Arc::clone(spec),
                None => Arc::new(self.spec(upstream, around, unix.clone())),
            };
            known.insert(upstream.name.clone(), (upstream.clone(), spec));
        }
        let upstreams = known.values().map(|(_, spec)| (spec.id, Arc::clone(spec))).collect();
        self.known = known;
        Setup { plan: Arc::new(plan), upstreams, keeper, cores }
    }

    fn spec(&mut self, plan: &UpstreamPlan, around: &Surroundings, unix: Option<PathBuf>) -> Spec {
        let id = UpstreamId(self.next);
        self.next += 1;
        let launch = plan.resolve(around).map_err(|errors| {
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        });
        Spec {
            id,
            name: plan.name.as_str().into(),
            instances: plan.instances,
            timeout: Duration::from_millis(plan.timeout_ms),
            start_timeout: Duration::from_millis(plan.start_timeout_ms),
            tools: plan.tools.clone(),
            launch,
            unix,
        }
    }
}
