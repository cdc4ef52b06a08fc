//! What a program that comes needs of this engine's devices: all aliases that it is granted, of the kinds
//! that they have where it comes from, and those that only one program can have must be free.

use wayfare_protocol::grants::Grants;

use std::collections::BTreeMap;

use wayfare_protocol::device::{Alias, DeviceKind};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::ProgramId;

use crate::Core;

impl Core {
    pub(super) fn check_devices(&self, program: ProgramId, grants: &Grants) -> Result<(), Failure> {
        for alias in &grants.devices {
            let engine = || self.identity.engine.clone();
            let Some(kind) = self.identity.devices.get(alias) else {
                return Err(Failure::NoDevice {
                    engine: engine(),
                    alias: alias.clone(),
                });
            };
            let holder = self.holder(program, alias).filter(|_| kind.is_exclusive());
            if let Some(program) = holder {
                return Err(Failure::DeviceTaken {
                    engine: engine(),
                    alias: alias.clone(),
                    program,
                });
            }
        }
        Ok(())
    }

    /// Another program that is here, or on its way, and has the grant.
    fn holder(&self, program: ProgramId, alias: &Alias) -> Option<ProgramId> {
        let here = self.programs.iter().filter(|(_, here)| !here.is_ended());
        let here = here.map(|(id, here)| (*id, &here.spec));
        let coming = self
            .arrivals
            .values()
            .map(|coming| (coming.program, &coming.spec));
        here.chain(coming)
            .find(|(id, spec)| *id != program && spec.grants.devices.contains(alias))
            .map(|(id, _)| id)
    }

    /// Of which kinds the devices are here that these grant.
    pub(crate) fn devices_of(&self, grants: &Grants) -> BTreeMap<Alias, DeviceKind> {
        let kind = |alias: &Alias| Some((alias.clone(), *self.identity.devices.get(alias)?));
        grants.devices.iter().filter_map(kind).collect()
    }

    /// A program that uses `led` as an output does not come to where `led` is a serial port.
    pub(super) fn check_kinds(&self, at_source: &BTreeMap<Alias, DeviceKind>) -> Result<(), Failure> {
        for (alias, expected) in at_source {
            let actual = self.identity.devices.get(alias);
            if let Some(actual) = actual.filter(|actual| *actual != expected) {
                return Err(Failure::WrongDevice {
                    engine: self.identity.engine.clone(),
                    alias: alias.clone(),
                    actual: *actual,
                    expected: *expected,
                });
            }
        }
        Ok(())
    }
}
