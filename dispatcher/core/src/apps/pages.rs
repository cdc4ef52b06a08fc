//! Long answers in parts: no message grows with the number of instances, versions or lines.

use serde::Serialize;
use wayfare_fleet::app::ask::{AppStatus, HistoryPage, StatusPage};
use wayfare_protocol::error::Failure;
use wayfare_protocol::limits::PAGE_BYTES_MAX;
use wayfare_scheduler::application::{ComponentId, InstanceId};

use super::Core;

/// Bytes of the lines of text in an answer, of each kind; what is over is counted.
const LINES_BYTES_MAX: usize = 16 * 1024;

impl Core {
    pub(super) fn status_page(
        &self,
        application: Option<&str>,
        from: Option<&InstanceId>,
    ) -> Result<StatusPage, Failure> {
        let mut room = PAGE_BYTES_MAX;
        let mut applications: Vec<AppStatus> = Vec::new();
        for (name, app) in self.wanted_apps(application)? {
            let begin = InstanceId {
                of: ComponentId::new(name, ""),
                ordinal: 0,
            };
            if from.is_some_and(|from| from.of.application > *name) {
                continue;
            }
            if room == 0 {
                return Ok(StatusPage {
                    applications,
                    next: Some(begin),
                });
            }
            let mut status = self.app_header(name, app);
            if from.is_some_and(|from| *from > begin) {
                status.unplaced.clear();
            }
            room = room.saturating_sub(bytes(&status));
            for id in self.instances_of(name, app) {
                if from.is_some_and(|from| *from > id) {
                    continue;
                }
                if room == 0 {
                    applications.push(status);
                    return Ok(StatusPage {
                        applications,
                        next: Some(id),
                    });
                }
                let instance = self.instance_status(&id);
                room = room.saturating_sub(bytes(&instance));
                status.instances.push(instance);
            }
            applications.push(status);
        }
        Ok(StatusPage {
            applications,
            next: None,
        })
    }

    pub(super) fn history_page(&self, application: &str, from: u64) -> Result<HistoryPage, Failure> {
        let mut room = PAGE_BYTES_MAX;
        let mut versions = Vec::new();
        for version in self.ask_history(application)? {
            if version.version < from {
                continue;
            }
            if room == 0 {
                return Ok(HistoryPage {
                    versions,
                    next: Some(version.version),
                });
            }
            room = room.saturating_sub(bytes(&version));
            versions.push(version);
        }
        Ok(HistoryPage { versions, next: None })
    }
}

/// As many lines as an answer has room for, and how many more there are.
pub(super) fn lines(all: Vec<String>) -> Vec<String> {
    let count = all.len();
    let mut room = LINES_BYTES_MAX;
    let mut kept: Vec<String> = Vec::new();
    for line in all {
        let line = wayfare_protocol::reason::cut(line);
        let Some(left) = room.checked_sub(bytes(&line)) else {
            kept.push(format!("... and {} more", count - kept.len()));
            break;
        };
        room = left;
        kept.push(line);
    }
    kept
}

pub(super) fn bytes<T: Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len() + 1)
}
