//! Messages to callers. A flow's message is put into the store's outbox; delivering it is somebody else's matter.

use crate::flow::Answer;
use crate::flow::action::Message;
use crate::store::Store;
use crate::value::Values;

/// Puts a message into the outbox and answers `queued`. A channel that does not exist, or an address that its channel cannot
/// reach, is an error: nobody would ever deliver it.
pub async fn queue(store: &Store, message: &Message) -> Answer {
    if let Err(why) = check(message) {
        return Answer::Error(format!("notify: {why}"));
    }
    match store.enqueue(message).await {
        Ok(()) => Answer::Result { result: "queued".into(), values: Values::new() },
        Err(fault) => Answer::Error(format!("notify: {fault:#}")),
    }
}

fn check(message: &Message) -> Result<(), String> {
    let to = message.to.as_str();
    match message.channel.as_str() {
        "sms" | "whatsapp" => {
            let number = to.strip_prefix('+').unwrap_or(to);
            if (8..=15).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit()) {
                Ok(())
            } else {
                // The number itself stays out of the logs.
                Err(format!("the {} address is no telephone number", message.channel))
            }
        }
        "email" => match to.split_once('@') {
            Some((local, domain)) if !local.is_empty() && domain.contains('.') && !to.contains(char::is_whitespace) => {
                Ok(())
            }
            Some(_) | None => Err("the address is no e-mail address".into()),
        },
        "print" => Ok(()),
        other => Err(format!("there is no channel `{other}`: sms, whatsapp, email, print")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::CallKey;

    #[test]
    fn only_what_can_be_delivered_is_queued() {
        let cases = [
            ("sms", "2221234567", true),
            ("sms", "+15551234567", true),
            ("sms", "", false),
            ("whatsapp", "222 123", false),
            ("email", "ana@correo.mx", true),
            ("email", "ana@correo", false),
            ("email", "ana maria@correo.mx", false),
            ("email", "@correo.mx", false),
            ("print", "", true),
            ("fax", "2221234567", false),
        ];
        for (channel, to, fits) in cases {
            let message = Message {
                operator: "beneleit".into(),
                channel: channel.into(),
                to: to.into(),
                template: "folio".into(),
                text: "…".into(),
                folio: None,
                call: CallKey("c".into()),
                idempotency: "k".into(),
            };
            assert_eq!(check(&message).is_ok(), fits, "{channel} {to}");
        }
    }
}
