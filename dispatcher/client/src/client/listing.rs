//! Lists of a large fleet from the acting dispatcher, part by part ([`lists`](crate::lists)).

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wayfare_protocol::ids::{EngineId, ProgramId};

use super::Client;
use crate::error::{AskError, CommandError};
use crate::lists::{Engines, ListAsk, Listing, Part, Programs, SERVICE, SORTED_MAX};
use crate::query::{Field, Query};
use crate::rows::{ENGINE_FIELDS, PROGRAM_FIELDS};

/// A part may take so long: engines may have to be asked for it.
const PART_TIMEOUT: Duration = Duration::from_secs(10);

impl Client {
    /// The programs that are asked for, as the acting dispatcher knows them; `None`: nobody acts, or one that
    /// cannot list these.
    pub async fn programs_listed(
        &self,
        listing: Listing<ProgramId>,
    ) -> Result<Option<Programs>, CommandError> {
        self.list(listing, ListAsk::Programs, &PROGRAM_FIELDS).await
    }

    /// The same of engines. Those that are listed have been asked whether they are there.
    pub async fn engines_listed(&self, listing: Listing<EngineId>) -> Result<Option<Engines>, CommandError> {
        self.list(listing, ListAsk::Engines, &ENGINE_FIELDS).await
    }

    async fn list<K, R>(
        &self,
        listing: Listing<K>,
        ask: impl Fn(Listing<K>) -> ListAsk,
        fields: &'static [Field<R>],
    ) -> Result<Option<Part<K, R>>, CommandError>
    where
        K: Clone + Serialize + DeserializeOwned,
        R: DeserializeOwned,
    {
        if !self.somebody_acts().await? {
            return Ok(None);
        }
        let (sort, limit) = (listing.sort.clone(), listing.limit);
        let sorts_itself = sort.is_some() && limit.is_none_or(|limit| limit > SORTED_MAX);
        let mut asked = Listing {
            sort: sort.clone().filter(|_| !sorts_itself),
            limit: limit.filter(|_| !sorts_itself),
            ..listing
        };
        let mut all: Option<Part<K, R>> = None;
        loop {
            let part: Part<K, R> = match self.ask_as(SERVICE, ask(asked.clone()), PART_TIMEOUT).await {
                Ok(part) => part,
                Err(AskError::Closed) => return Err(CommandError::Closed),
                Err(error) => {
                    tracing::debug!(%error, "the dispatcher lists nothing");
                    return Ok(None);
                }
            };
            let count = u32::try_from(part.rows.len()).unwrap_or(u32::MAX);
            asked.limit = asked.limit.map(|limit| limit.saturating_sub(count));
            asked.after = part.next.clone().filter(|_| asked.limit != Some(0) && count > 0);
            match &mut all {
                Some(all) => all.rows.extend(part.rows),
                None => all = Some(part),
            }
            if asked.after.is_none() {
                break;
            }
        }
        if let (Some(all), true) = (&mut all, sorts_itself) {
            // That release knows the field, so this one may not: then it was refused before anybody was
            // asked.
            let limit = limit.map(|limit| limit as usize);
            if let Ok(order) = Query::new(None, sort.as_deref(), limit, fields) {
                all.rows = order.of(std::mem::take(&mut all.rows));
            }
        }
        Ok(all)
    }
}
