//! Which of several providers a call from outside goes to.

use std::time::Duration;

use tokio::time::Instant;
use wayfare_protocol::address::{Address, Announcement};
use wayfare_protocol::choice::{
    self, Candidate, Choice, EngineAndLoad, Loads, LoadsAsk, PICK, PickAsk, Picked,
};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::wire;

use super::{CallError, Caller};

/// What more is said about a call.
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    /// The provider is to tell how far it is.
    pub progress: bool,
    /// Who calls from outside is on no engine: a choice of its own engine fits nobody.
    pub choose: Choice,
    /// What the dispatcher has answered to [`Caller::asks`].
    pub loads: Loads,
}

impl Caller {
    /// What the dispatcher is to be asked for a choice among those at the address.
    pub fn asks(&self, address: &Address, choose: &Choice) -> Option<LoadsAsk> {
        let engines = self
            .there(address)
            .map(|(_, announcement)| announcement.engine.clone());
        choose.asks(engines)
    }

    fn there(&self, address: &Address) -> impl Iterator<Item = (ProgramId, &Announcement)> {
        let all = self.providers.iter().filter(move |((of, _), _)| of == address);
        all.filter(|(_, announcement)| !announcement.gone)
            .map(|((_, program), announcement)| (*program, announcement))
    }

    fn candidates(&self, address: &Address) -> Vec<Candidate<'_>> {
        let there = self.there(address).map(|(program, announcement)| Candidate {
            program,
            engine: &announcement.engine,
        });
        there.collect()
    }

    /// Who is called, and how much of the time is left then: a service that picks takes some.
    pub(super) async fn choose(
        &mut self,
        (address, function): (&Address, &str),
        options: &CallOptions,
        limit: Duration,
    ) -> Result<(ProgramId, Duration), CallError> {
        if options.choose.is_none() {
            return Ok((self.provider(address)?, limit));
        }
        // That there is nobody at all is another failure.
        self.provider(address)?;
        let number = u64::try_from(self.drawn() & u128::from(u64::MAX)).unwrap_or_default();
        let there = self.candidates(address);
        let at = usize::try_from(number % (there.len().max(1) as u64)).unwrap_or_default();
        let known = choice::Known {
            here: None,
            number,
            // Nobody remembers who was called before: a round begins anywhere.
            last: there.get(at).map(|one| one.program),
            loads: &options.loads,
        };
        let Some(service) = options.choose.service() else {
            let picked = options.choose.pick(&self.candidates(address), &known);
            return match picked {
                Some(picked) => Ok((picked, limit)),
                None => Err(CallError::NoneFits(address.clone())),
            };
        };
        let admitted = options.choose.admitted(&self.candidates(address), &known);
        let candidates = admitted.iter().filter_map(|one| {
            let (engine, load) = (one.engine.clone(), *options.loads.get(one.engine)?);
            Some(Picked {
                program: one.program,
                at: EngineAndLoad { engine, load },
            })
        });
        let ask = PickAsk {
            address: address.clone(),
            function: function.to_owned(),
            candidates: candidates.take(choice::ENGINES_MAX).collect(),
        };
        if ask.candidates.is_empty() {
            return Err(CallError::NoneFits(address.clone()));
        }
        let began = Instant::now();
        let nobody = || CallError::Unpicked(service.clone());
        let picker = self.provider(service)?;
        let arguments = wire::to_json(&ask);
        let open = self
            .begin_at((service, picker), (PICK, &arguments), limit, false)
            .await?;
        let answer = self.end(&open, |_| {}).await?;
        let answer = String::from_utf8(answer).map_err(|_| nobody())?;
        let picked: ProgramId = answer.trim().trim_matches('"').parse().map_err(|_| nobody())?;
        match ask.candidates.iter().any(|one| one.program == picked) {
            true => Ok((picked, limit.saturating_sub(began.elapsed()))),
            false => Err(nobody()),
        }
    }
}
