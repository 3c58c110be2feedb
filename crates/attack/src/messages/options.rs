//! The options of attacks with messages.

use std::net::SocketAddr;

use crate::error::{PlanError, plan_error};
use crate::plan::AttackPlan;

/// The texts by which a server is asked to subscribe and to publish. `{topic}` is replaced by a topic or pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TopicTexts {
    /// A message that subscribes to `{topic}`.
    pub subscribe: String,
    /// A message that ends the subscription to `{topic}`.
    pub unsubscribe: String,
    /// A message that publishes to `{topic}`.
    pub publish: String,
    /// The text between two tokens of a topic.
    pub separator: String,
    /// The pattern of exactly one token.
    pub wildcard: String,
}

impl Default for TopicTexts {
    /// The subprotocol `hioload.topics.v1`.
    fn default() -> Self {
        Self {
            subscribe: r#"{"sub":"{topic}"}"#.into(),
            unsubscribe: r#"{"unsub":"{topic}"}"#.into(),
            publish: r#"{"pub":"{topic}","data":0}"#.into(),
            separator: ".".into(),
            wildcard: "*".into(),
        }
    }
}

impl TopicTexts {
    /// Checks that each message names its topic.
    ///
    /// # Errors
    /// If one of them does not contain `{topic}`, or the separator or the wildcard is empty.
    pub fn check(&self) -> Result<(), PlanError> {
        for text in [&self.subscribe, &self.unsubscribe, &self.publish] {
            if !text.contains("{topic}") {
                return plan_error(format!("the text '{text}' does not contain {{topic}}"));
            }
        }
        if self.separator.is_empty() || self.wildcard.is_empty() {
            return plan_error("the separator and the wildcard of topics must not be empty");
        }
        Ok(())
    }
}

/// The options of [`MessageAttacks`](crate::MessageAttacks). Made by [`MessageOptions::new`] and changed field by field.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MessageOptions {
    /// The attacks, all of them with messages.
    pub plan: AttackPlan,
    /// The only address that is attacked. See [`AttackPlan::check_target`].
    pub target: SocketAddr,
    /// Value of the `Host` field.
    pub host: String,
    /// Value of the `Origin` field, if it is sent.
    pub origin: Option<String>,
    /// The request target of attacks that need no topics.
    pub path: String,
    /// The request target of attacks that need topics, and of the witness.
    pub topics_path: String,
    /// The subprotocol offered there; none if it is empty.
    pub topics_protocol: String,
    /// The texts of the topic protocol.
    pub texts: TopicTexts,
    /// Subscribers of the witness, which runs beside attacks that need topics. The more there are, the more lcores have one.
    pub witnesses: usize,
}

impl MessageOptions {
    /// Options for `hioload serve`: `/echo`, `/topics`, `hioload.topics.v1`, 16 witnesses.
    #[must_use]
    pub fn new(plan: AttackPlan, target: SocketAddr) -> Self {
        Self {
            plan,
            target,
            host: target.to_string(),
            origin: None,
            path: "/echo".into(),
            topics_path: "/topics".into(),
            topics_protocol: "hioload.topics.v1".into(),
            texts: TopicTexts::default(),
            witnesses: 16,
        }
    }

    /// Checks that the attacks can be carried out.
    ///
    /// # Errors
    /// If an attack of the plan sends packets, or a text of the topic protocol is wrong.
    pub fn check(&self) -> Result<(), PlanError> {
        if !self.plan.is_messages() {
            return plan_error(format!("{} sends packets, and no messages", self.plan));
        }
        self.texts.check()
    }

    /// Whether an attack of the plan needs topics.
    #[must_use]
    pub fn needs_topics(&self) -> bool {
        let mut attacks = self.plan.attacks().iter();
        attacks.any(|attack| attack.kind.needs_topics())
    }

    /// Connections of the attacks and of the witness together, at most.
    #[must_use]
    pub fn connections(&self) -> usize {
        let attacks = self.plan.attacks().iter();
        let attackers: usize = attacks.map(|attack| attack.connections as usize).sum();
        let witness = if self.needs_topics() {
            self.witnesses + 1
        } else {
            0
        };
        attackers + witness
    }
}
