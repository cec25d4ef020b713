//! `contesta route NUMBER`: how a called number is read and where it leads.

use anyhow::{bail, ensure};

use crate::cli::folders::FlowsArgs;
use crate::edge::files;
use crate::operator::number::{Explanation, Rule};

/// Explain where a called number leads.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The number as a phone or trunk sends it: `*2363`, `+522226057239`, `2226057239;ext=300`, `sip:%2A2363@host`.
    number: String,
    #[command(flatten)]
    flows: FlowsArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the route.
///
/// # Errors
/// Faults in the operators' files, or the number leads nowhere.
pub fn run(args: Args) -> anyhow::Result<()> {
    ensure!(!args.number.trim().is_empty(), "there is no number to look up: write one as it is dialled, like *2363");
    let (operators, routes) = files::load_operators(&args.flows.settle()?)?;
    let user = user_part(&args.number);
    let explained = routes.explain(&user, &[]);
    let operator = explained.route.as_ref().and_then(|route| operators.get(route.operator));
    if args.json {
        let route = explained.route.as_ref().map(|route| {
            serde_json::json!({
                "operator": operator.map(|operator| &operator.id),
                "number": route.number,
                "extension": route.extension,
                "flow": route.flow,
            })
        });
        let answer = serde_json::json!({
            "called": args.number,
            "normalised": explained.normalised.as_str(),
            "route": route,
            "because": because(&explained),
            "suggestion": explained.suggestion,
        });
        println!("{answer:#}");
    } else {
        println!("called      {}", args.number);
        println!("read as     {}", explained.normalised);
        println!("because     {}", because(&explained));
    }
    match (explained.route, operator) {
        (Some(_), _) if args.json => Ok(()),
        (Some(route), Some(operator)) => {
            println!("operator    {} ({})", operator.id, operator.name);
            println!("number      {}", route.number);
            if let Some(extension) = route.extension {
                println!("extension   {extension}");
            }
            println!("flow        {}", route.flow);
            Ok(())
        }
        _ => match explained.suggestion {
            Some(suggestion) => bail!("{} leads nowhere (404); did you mean {suggestion}?", args.number),
            None => bail!("{} leads nowhere (404)", args.number),
        },
    }
}

/// The rule that decided, in words.
fn because(explained: &Explanation) -> String {
    let number =
        explained.route.as_ref().map_or_else(|| explained.normalised.to_string(), |route| route.number.clone());
    let extension = explained.route.as_ref().and_then(|route| route.extension.as_deref()).unwrap_or_default();
    match &explained.rule {
        Rule::Nobodys => format!("no operator publishes {number}"),
        Rule::Number => format!("{number} is published, and no extension came with it"),
        Rule::Extension => format!("{number} lists the extension {extension}"),
        Rule::UnknownExtension(known) if known.is_empty() => {
            format!("{number} lists no extensions: its own flow takes the call with {extension}")
        }
        Rule::UnknownExtension(known) => {
            format!(
                "{number} does not list the extension {extension} (it lists {}): its own flow takes the call",
                known.join(", ")
            )
        }
    }
}

/// The user part of a SIP or tel URI, or the text itself, percent escapes read (RFC 3261 §19.1.2).
pub(super) fn user_part(text: &str) -> String {
    let scheme = ["sips:", "sip:", "tel:"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let user = scheme.unwrap_or(text).split('@').next().unwrap_or("");
    let mut bytes = Vec::with_capacity(user.len());
    let mut rest = user.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (byte, escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or(&[]);
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_cut_to_their_user_part() {
        for (text, user) in [
            ("sip:%2A2363@10.0.0.1:5060;user=phone", "*2363"),
            ("tel:+522226057239;ext=300", "+522226057239;ext=300"),
            ("*2363", "*2363"),
            ("100%", "100%"),
            ("%zz", "%zz"),
        ] {
            assert_eq!(user_part(text), user);
        }
    }
}
