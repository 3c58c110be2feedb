//! Attacks with messages: their options from the command line, and their witness in the results.

use std::net::SocketAddr;

use hioload_attack::{
    AttackControl, AttackPlan, MessageAttacks, MessageOptions, PlanError, TopicTexts, Witness,
};
use hioload_loadgen::{Job, RepeatResult};

use crate::Failure;
use crate::cli::load::LoadArgs;

/// The attacks with messages of a load.
#[derive(Debug, Clone)]
pub(super) struct Messages(MessageOptions);

impl Messages {
    pub(super) fn new(
        plan: AttackPlan,
        target: SocketAddr,
        arguments: &LoadArgs,
        job: &Job,
    ) -> Result<Self, PlanError> {
        let given = &arguments.messages;
        let mut options = MessageOptions::new(plan, target);
        options.host.clone_from(&job.host);
        options.origin.clone_from(&job.origin);
        options.path.clone_from(&job.target);
        options.topics_protocol.clone_from(&given.attack_protocol);
        if let Some(path) = &given.attack_path {
            options.topics_path.clone_from(path);
        }
        let mut texts = TopicTexts::default();
        for (text, flag) in [
            (&mut texts.subscribe, &given.attack_subscribe),
            (&mut texts.unsubscribe, &given.attack_unsubscribe),
            (&mut texts.publish, &given.attack_publish),
        ] {
            if let Some(flag) = flag {
                text.clone_from(flag);
            }
        }
        texts.separator.clone_from(&given.attack_separator);
        texts.wildcard.clone_from(&given.attack_wildcard);
        options.texts = texts;
        options.check()?;
        Ok(Self(options))
    }

    pub(super) fn sockets(&self) -> usize {
        self.0.connections()
    }

    pub(super) fn begin(&self, control: &AttackControl) -> Result<MessageAttacks, Failure> {
        MessageAttacks::start(self.0.clone(), control.clone())
            .map_err(|why| Failure::run(why).in_context("cannot attack"))
    }
}

/// Ends the attacks, and adds what their witness has seen. A lost publication fails the run, as a missing reply does.
pub(super) fn end(attacks: MessageAttacks, result: &mut RepeatResult) -> Result<(), Failure> {
    let witness = attacks
        .end()
        .map_err(|why| Failure::run(why).in_context("the attack failed"))?;
    let Some(witness) = witness else {
        return Ok(());
    };
    let extra = &mut result.run.extra;
    for (name, value) in [
        ("published", witness.published),
        ("delivered", witness.delivered),
        ("lost", witness.lost()),
        ("ended", witness.ended),
    ] {
        extra.insert(format!("witness.{name}"), value as f64);
    }
    let Some(failure) = failure(&witness) else {
        return Ok(());
    };
    let errors = &mut result.run.errors;
    for (name, count) in [
        ("lost publications", witness.lost()),
        ("ended witnesses", witness.ended),
    ] {
        if count > 0 {
            errors.insert(name.to_owned(), count);
        }
    }
    result.failure.get_or_insert(failure);
    Ok(())
}

fn failure(witness: &Witness) -> Option<String> {
    let (lost, ended) = (witness.lost(), witness.ended);
    match (lost, ended) {
        (0, 0) => None,
        (0, ended) => Some(format!(
            "the server ended {ended} connections of the witness"
        )),
        (lost, _) => Some(format!(
            "lost: {lost} of {} deliveries to the witness did not arrive",
            witness.expected
        )),
    }
}
