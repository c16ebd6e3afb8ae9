//! What to check where somebody or something is missing. Must not know how it was found out.

use crate::link::address::Address;

use super::super::Options;
use super::super::connect::{KEY_THERE, SAME_KEY, SIGNED_THERE, advice as to_check};
use super::{Answer, Survey};

/// Sentences for people, the likeliest first; none where files were found.
pub fn advice(address: &Address, options: &Options, survey: &Survey) -> Vec<String> {
    let is_wished = |system, component| {
        options.target.is_none_or(|(wanted, part)| {
            wanted == system && part.is_none_or(|part| part == component)
        })
    };
    let mut wished = survey.heard.iter().filter(|heard| is_wished(heard.system, heard.component));
    let mut answers = wished.clone().map(|heard| heard.ftp.answer);
    if answers.clone().any(|answer| answer == Answer::Lists) {
        return Vec::new();
    }
    if survey.heard.is_empty() {
        return nobody(address, options, survey);
    }
    if wished.next().is_none() {
        return vec!["The one named with --target is not heard; these are.".into()];
    }
    if answers.all(|answer| answer == Answer::NotAsked) {
        return vec!["Nobody was heard whose files could be asked for.".into()];
    }
    let signed = options.sign_key.is_none() && survey.frames.signed > 0;
    let mut advice = vec![
        "Nobody shows files. Check that FTP is enabled there, and that what is sent to the vehicle \
         arrives: a router or radio may carry one direction only."
            .to_owned(),
    ];
    if signed {
        advice.push(sentence(SIGNED_THERE.trim_start_matches("; ")));
    }
    advice
}

/// Nobody was heard.
fn nobody(address: &Address, options: &Options, survey: &Survey) -> Vec<String> {
    let frames = survey.frames;
    let noise = frames.garbage_bytes + frames.bad_check + frames.truncated;
    let mut advice = vec![tried(address, survey.seconds)];
    if frames.unsigned + frames.wrong_key > 0 {
        advice.push(format!("Frames are heard, but none that is signed with our key: {SAME_KEY}."));
    } else if frames.stale > 0 {
        advice.push(format!("Frames are heard, but signed too long ago by our time: {SAME_KEY}."));
    } else if frames.frames + frames.foreign > 0 {
        advice.push("Frames are heard, but no HEARTBEAT: a router may keep them back.".into());
    } else if noise > 0 {
        advice.push(match address {
            Address::Serial { .. } => "Bytes come, but no frame is among them: the speed is \
                                       probably another one; try :57600, :115200 or :921600."
                .into(),
            Address::UdpListen { .. }
            | Address::UdpOut(_)
            | Address::UdpBroadcast(_)
            | Address::TcpOut(_)
            | Address::TcpListen { .. }
            | Address::Ftp(_) => "Bytes come, but they are no MAVLink: something else sends to \
                                  this port."
                .into(),
        });
    }
    let key = if options.sign_key.is_some() { KEY_THERE } else { "" };
    advice.push(format!("Check {}{key}.", to_check(address)));
    if let Address::UdpListen { .. } = address {
        advice.push(
            "A vehicle that waits to be spoken to is reached by udpout:HOST:PORT; where a ground \
             station has the vehicle, let it forward to this port."
                .into(),
        );
    }
    advice
}

/// What was done to hear somebody.
fn tried(address: &Address, seconds: f64) -> String {
    let heard_nobody = format!("for {seconds:.0} s and heard no HEARTBEAT");
    match address {
        Address::UdpListen { .. } => format!("Listened on {address} {heard_nobody}."),
        Address::TcpListen { .. } => {
            format!("Listened on {address}, greeted who connected, {heard_nobody}.")
        }
        Address::UdpOut(_)
        | Address::UdpBroadcast(_)
        | Address::TcpOut(_)
        | Address::Serial { .. }
        | Address::Ftp(_) => {
            format!("Sent a HEARTBEAT each second to {address}, listened {heard_nobody}.")
        }
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::frames::Counters;

    fn silence(address: &str, frames: Counters) -> String {
        let survey = Survey { seconds: 6.0, heard: Vec::new(), frames, advice: Vec::new() };
        advice(&address.parse().unwrap(), &Options::default(), &survey).join(" ")
    }

    #[test]
    fn noise_on_a_serial_line_is_a_wrong_speed() {
        let noise = Counters { garbage_bytes: 500, ..Counters::default() };
        assert!(silence("serial:/dev/ttyUSB0:57600", noise).contains(":921600"));
        assert!(silence("udp:14550", noise).contains("no MAVLink"));
    }

    #[test]
    fn silence_is_told_with_what_was_tried_and_what_to_check() {
        let text = silence("udp:14550", Counters::default());
        assert!(text.contains("Listened on udp:14550 for 6 s") && text.contains("firewall"));
        assert!(text.contains("udpout:HOST:PORT"), "{text}");
        assert!(silence("udpout:127.0.0.1:9", Counters::default()).contains("Sent a HEARTBEAT"));
    }

    #[test]
    fn frames_that_are_not_believed_are_a_matter_of_keys() {
        let refused = Counters { unsigned: 3, ..Counters::default() };
        assert!(silence("udp:14550", refused).contains("--sign-key-file"));
        let others = Counters { foreign: 3, ..Counters::default() };
        assert!(silence("udp:14550", others).contains("no HEARTBEAT: a router"));
    }
}
