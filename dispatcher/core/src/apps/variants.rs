//! Versions that people ask for without a manifest: the current one with another number of instances, or
//! begun anew.

use serde_json::Value;
use wayfare_fleet::app::AppSpec;
use wayfare_protocol::error::Failure;

use super::Core;
use super::asked::bad;
use super::state::{App, Standing};

impl Core {
    pub(super) fn scale(&mut self, name: &str, component: &str, count: u32) -> Result<Value, Failure> {
        let mut spec = self.varied(name)?;
        let Some(wanted) = spec.components.get_mut(component) else {
            return Err(no_component(&spec, component));
        };
        if wanted.is_everywhere() {
            return Err(bad(format!(
                "component '{component}' runs on every engine: its labels say on how many"
            )));
        }
        wanted.count = count;
        spec.check()?;
        Ok(self.change_to(spec))
    }

    pub(super) fn restart(&mut self, name: &str, component: Option<&str>) -> Result<Value, Failure> {
        let mut spec = self.varied(name)?;
        if let Some(component) = component.filter(|component| !spec.components.contains_key(*component)) {
            return Err(no_component(&spec, component));
        }
        for (name, wanted) in &mut spec.components {
            if component.is_none_or(|component| component == name) {
                wanted.restarts = wanted.restarts.wrapping_add(1);
            }
        }
        Ok(self.change_to(spec))
    }

    /// A manifest says nothing of restarts: what began anew does not do so again because of one.
    pub(super) fn keep_restarts(&self, spec: &mut AppSpec) {
        let known = self.state.apps.get(&spec.name).and_then(App::spec);
        for (name, wanted) in &mut spec.components {
            let before = known.and_then(|known| known.components.get(name));
            wanted.restarts = before.map_or(0, |before| before.restarts);
        }
    }

    fn varied(&self, name: &str) -> Result<AppSpec, Failure> {
        let app = self.app(name)?;
        if app.standing == Standing::Removing {
            return Err(bad(format!("application '{name}' is being removed")));
        }
        let spec = app.spec().cloned();
        spec.ok_or_else(|| bad(format!("application '{name}' has no current version")))
    }
}

fn no_component(spec: &AppSpec, component: &str) -> Failure {
    let there: Vec<&str> = spec.components.keys().map(String::as_str).collect();
    bad(format!(
        "application '{}' has no component '{component}'; there are: {}",
        spec.name,
        there.join(", ")
    ))
}
