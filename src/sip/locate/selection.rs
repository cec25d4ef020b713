//! The order of SRV records: by priority, and within one by chance as their weights say (RFC 2782, «Usage rules»).

use crate::ids::Ids;

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The lowest comes first.
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Its name.
    pub target: String,
}

/// All of them, in the order in which they are tried.
#[must_use]
pub fn order(mut hosts: Vec<Host>, ids: &mut Ids) -> Vec<Host> {
    // Those without weight first, so that they have a small chance.
    hosts.sort_by_key(|host| (host.priority, host.weight));
    let mut ordered = Vec::with_capacity(hosts.len());
    while let Some(first) = hosts.first() {
        let priority = first.priority;
        let same = hosts.iter().take_while(|host| host.priority == priority);
        let sum: u64 = same.clone().map(|host| u64::from(host.weight)).sum();
        let chosen = ids.below(sum + 1);
        let mut running = 0;
        let at = same.into_iter().position(|host| {
            running += u64::from(host.weight);
            running >= chosen
        });
        ordered.push(hosts.remove(at.unwrap_or_default()));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(priority: u16, weight: u16, target: &str) -> Host {
        Host { priority, weight, port: 5060, target: target.into() }
    }

    #[test]
    fn priorities_are_kept_and_weights_are_shares() {
        let mut ids = Ids::from_seed(7);
        let mut first = std::collections::BTreeMap::<String, u32>::new();
        for _ in 0..10_000 {
            let hosts = vec![host(2, 9, "backup"), host(1, 0, "none"), host(1, 60, "large"), host(1, 20, "small")];
            let ordered = order(hosts, &mut ids);
            assert_eq!((ordered.len(), ordered[3].target.as_str()), (4, "backup"));
            *first.entry(ordered[0].target.clone()).or_default() += 1;
        }
        let share = |target: &str| first.get(target).copied().unwrap_or_default();
        // 60, 20 and 1 of 81.
        assert!((7_200..7_600).contains(&share("large")), "{first:?}");
        assert!((2_300..2_650).contains(&share("small")), "{first:?}");
        assert!((60..200).contains(&share("none")), "{first:?}");
    }

    #[test]
    fn every_record_is_there_once_whatever_the_weights() {
        let mut ids = Ids::from_seed(7);
        for weights in [[0, 0, 0], [u16::MAX, u16::MAX, u16::MAX], [0, 1, u16::MAX]] {
            let hosts = weights.iter().zip(["a", "b", "c"]).map(|(weight, name)| host(5, *weight, name)).collect();
            let mut names: Vec<String> = order(hosts, &mut ids).into_iter().map(|host| host.target).collect();
            names.sort();
            assert_eq!(names, ["a", "b", "c"]);
        }
    }
}
