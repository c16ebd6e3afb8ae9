//! What the hub promises about addresses, identities, heartbeats and armed vehicles.

use super::*;

const OPTIONS: Options = Options {
    own_system: 245,
    own_component: 191,
    link_timeout: Duration::from_secs(5),
    seed: 7,
    rate_limit: None,
    when_armed: Restraint::Limited,
    loss_patience: Duration::ZERO,
};
const PX4: Heartbeat = Heartbeat { vehicle_type: 2, autopilot: 12, base_mode: 0 };
const CAMERA: Heartbeat = Heartbeat { vehicle_type: 30, autopilot: 8, base_mode: 0 };
const STATION: Heartbeat = Heartbeat { vehicle_type: 6, autopilot: 8, base_mode: 0 };
const TARGET: Target = Target { system: 1, component: 1 };
const PATIENCE: Duration = Duration::from_secs(10);

struct Bench {
    now: Instant,
    hub: Hub<u8>,
}

impl Bench {
    fn new() -> Bench {
        let now = Instant::now();
        Bench { now, hub: Hub::new(now, OPTIONS) }
    }

    fn beat(&mut self, from: u8, system: u8, component: u8, heartbeat: Heartbeat) {
        let source = Target { system, component };
        self.hub.receive(self.now, from, source, Incoming::Heartbeat(heartbeat));
    }

    fn identify(&mut self, uid: u64) {
        let identity = Identity { uid, uid2: [0; 18] };
        self.hub.receive(self.now, 1, TARGET, Incoming::Identity(identity));
    }

    fn request(&mut self, id: u64, op: Op) {
        self.hub.request(self.now, TARGET, RequestId(id), op, Class::Metadata, PATIENCE);
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// Everything the hub wants done now.
    fn drain(&mut self) -> Vec<HubOutput<u8>> {
        let mut outputs = Vec::new();
        loop {
            match self.hub.poll(self.now) {
                HubOutput::Wait(_) => return outputs,
                output => outputs.push(output),
            }
        }
    }

    fn look(&self) -> Known {
        self.hub.look(self.now, TARGET).unwrap()
    }
}

fn list() -> Op {
    Op::List { path: b"/".to_vec() }
}

fn done(outputs: &[HubOutput<u8>]) -> Option<Result<super::super::client::Reply, Error>> {
    outputs.iter().find_map(|output| match output {
        HubOutput::Event(Event::Done(_, result)) => Some(*result),
        _ => None,
    })
}

#[test]
fn an_autopilot_is_preferred_and_ground_stations_are_left_out() {
    let mut bench = Bench::new();
    bench.beat(1, 255, 190, STATION);
    bench.beat(2, 1, 100, CAMERA);
    bench.beat(3, 1, 1, PX4);
    let any = Wish { system: None, component: None };
    let targets: Vec<_> =
        bench.hub.candidates(bench.now, any).iter().map(|known| known.target.component).collect();
    assert_eq!(targets, [1, 100]);
    let camera = Wish { system: Some(1), component: Some(100) };
    assert_eq!(bench.hub.candidates(bench.now, camera).len(), 1);
}

#[test]
fn a_heartbeat_from_elsewhere_moves_a_vehicle_only_after_a_silence() {
    let mut bench = Bench::new();
    bench.beat(1, 1, 1, PX4);
    bench.wait(2);
    bench.beat(9, 1, 1, PX4);
    bench.request(1, list());
    let sent_to = |outputs: Vec<HubOutput<u8>>| {
        outputs.into_iter().find_map(|output| match output {
            HubOutput::Send(to, Frame::Ftp(..)) => Some(to),
            _ => None,
        })
    };
    assert_eq!(sent_to(bench.drain()), Some(Some(1)));
    bench.wait(6);
    bench.beat(9, 1, 1, PX4);
    bench.request(2, list());
    assert_eq!(sent_to(bench.drain()), Some(Some(9)));
}

#[test]
fn a_stray_datagram_redirects_nothing_and_answers_nothing() {
    let mut bench = Bench::new();
    bench.beat(1, 1, 1, PX4);
    bench.request(1, list());
    let sequence = bench
        .drain()
        .into_iter()
        .find_map(|output| match output {
            HubOutput::Send(_, Frame::Ftp(_, payload)) => Some(payload),
            _ => None,
        })
        .unwrap();
    let eof = Payload::nak(&sequence, crate::mavftp::wire::Nak::Eof).encode();
    let answer = |system, component| Incoming::Ftp {
        target_system: system,
        target_component: component,
        payload: eof,
    };
    bench.hub.receive(bench.now, 66, TARGET, answer(245, 191));
    assert_eq!(done(&bench.drain()), None, "from another address");
    bench.hub.receive(bench.now, 1, TARGET, answer(255, 190));
    assert_eq!(done(&bench.drain()), None, "to another station");
    bench.hub.receive(bench.now, 1, TARGET, answer(245, 191));
    assert!(matches!(done(&bench.drain()), Some(Ok(_))));
}

/// > A vehicle not heard for `--link-timeout` (5 s) makes new operations fail at once with
/// > EHOSTDOWN.
#[test]
fn a_silent_vehicle_refuses_at_once_and_works_again_when_it_is_back() {
    let mut bench = Bench::new();
    bench.beat(1, 1, 1, PX4);
    bench.wait(5);
    bench.request(1, list());
    assert_eq!(done(&bench.drain()), Some(Err(Error::LinkDown)));
    bench.beat(1, 1, 1, PX4);
    bench.request(2, list());
    assert_eq!(done(&bench.drain()), None);
}

#[test]
fn an_armed_autopilot_is_not_written_to_but_read() {
    let mut bench = Bench::new();
    bench.beat(1, 1, 1, Heartbeat { base_mode: 128 | 1, ..PX4 });
    bench.request(1, Op::Remove { path: b"/a".to_vec() });
    assert_eq!(done(&bench.drain()), Some(Err(Error::Armed)));
    bench.request(2, list());
    assert_eq!(done(&bench.drain()), None);
    bench.beat(1, 1, 1, PX4);
    bench.request(3, Op::Remove { path: b"/a".to_vec() });
    assert_eq!(done(&bench.drain()), None);
}

#[test]
fn a_vehicle_that_comes_back_unknown_is_a_new_one() {
    let mut bench = Bench::new();
    bench.beat(1, 1, 1, PX4);
    let before = bench.look();
    bench.wait(6);
    bench.beat(1, 1, 1, PX4);
    assert_ne!(bench.look().epoch, before.epoch);
    assert_eq!(bench.look().last_other, before.last_other, "nothing shows that it is another");
}

#[test]
fn a_vehicle_that_proves_who_it_is_keeps_what_was_cached() {
    let mut bench = Bench::new();
    bench.beat(1, 1, 1, PX4);
    bench.identify(42);
    let before = bench.look().epoch;
    bench.wait(6);
    bench.beat(1, 1, 1, PX4);
    let asked = bench.drain();
    assert!(asked.iter().any(|output| matches!(output, HubOutput::Send(_, Frame::AskIdentity(_)))));
    bench.identify(42);
    assert_eq!(bench.look().epoch, before);
    bench.identify(43);
    assert_ne!(bench.look().epoch, before);
    assert_eq!(bench.look().last_other, bench.look().epoch);
}

#[test]
fn heartbeats_go_to_everybody_who_is_up_and_else_to_the_default() {
    let mut bench = Bench::new();
    let beats = |outputs: Vec<HubOutput<u8>>| -> Vec<Option<u8>> {
        let mut to: Vec<_> = outputs
            .into_iter()
            .filter_map(|output| match output {
                HubOutput::Send(to, Frame::Heartbeat) => Some(to),
                _ => None,
            })
            .collect();
        to.sort_unstable();
        to
    };
    assert_eq!(beats(bench.drain()), [None]);
    bench.beat(1, 1, 1, PX4);
    bench.beat(1, 1, 100, CAMERA);
    bench.beat(2, 2, 1, PX4);
    bench.drain();
    bench.wait(1);
    assert_eq!(beats(bench.drain()), [Some(1), Some(2)]);
    bench.wait(9);
    assert_eq!(beats(bench.drain()), [None]);
}

/// Heartbeats of more components than the hub remembers, one by one.
fn crowd(bench: &mut Bench) {
    for system in 2..=40 {
        for component in 1..=255 {
            bench.now += Duration::from_millis(1);
            bench.beat(9, system, component, CAMERA);
        }
    }
}

#[test]
fn a_vehicle_is_heard_behind_a_crowd() {
    let mut bench = Bench::new();
    crowd(&mut bench);
    bench.beat(1, 1, 1, PX4);
    assert!(bench.look().up);
    assert!(bench.hub.known(bench.now).len() <= VEHICLES_MAX);
    let answers = bench.drain().len();
    assert!(answers <= 3, "a crowd at one place gets one heartbeat, not {answers}");
}

#[test]
fn a_crowd_does_not_push_out_a_vehicle_in_use() {
    let mut bench = Bench::new();
    bench.beat(1, 1, 1, PX4);
    bench.request(1, list());
    crowd(&mut bench);
    assert!(bench.hub.look(bench.now, TARGET).is_some());
}

#[test]
fn a_radio_is_heard_for_five_seconds_and_is_no_vehicle() {
    let mut bench = Bench::new();
    assert_eq!(bench.hub.radio(bench.now), None);
    let status = RadioStatus {
        rssi: 190,
        remrssi: 180,
        txbuf: 17,
        noise: 40,
        remnoise: 50,
        rxerrors: 3,
        fixed: 2,
    };
    let radio = Target { system: 51, component: 68 };
    bench.hub.receive(bench.now, 1, radio, Incoming::Radio(status));
    let later = RadioStatus { txbuf: 99, ..status };
    bench.now += Duration::from_secs(2);
    bench.hub.receive(bench.now, 1, radio, Incoming::Radio(later));
    assert_eq!(bench.hub.radio(bench.now + Duration::from_millis(4_999)), Some(later));
    assert_eq!(bench.hub.radio(bench.now + Duration::from_secs(5)), None);
    assert!(bench.hub.known(bench.now).is_empty());
    assert_eq!(bench.hub.strangers(), 0);
}

#[test]
fn a_radio_with_the_ids_of_a_vehicle_does_not_keep_it_alive() {
    let mut bench = Bench::new();
    bench.beat(1, 1, 1, PX4);
    bench.now += Duration::from_secs(6);
    let status = RadioStatus {
        rssi: 0,
        remrssi: 0,
        txbuf: 100,
        noise: 0,
        remnoise: 0,
        rxerrors: 0,
        fixed: 0,
    };
    bench.hub.receive(bench.now, 1, TARGET, Incoming::Radio(status));
    assert_eq!(bench.hub.look(bench.now, TARGET).map(|known| known.up), Some(false));
    assert_eq!(bench.hub.radio(bench.now), Some(status));
}

/// > Cameras and companion computers are never limited.
#[test]
fn a_camera_and_a_companion_are_never_limited() {
    let mut bench = Bench::new();
    for component in [100, 191] {
        bench.beat(1, 1, component, Heartbeat { base_mode: 128, ..CAMERA });
        let target = Target { system: 1, component };
        assert_eq!(bench.hub.look(bench.now, target).unwrap().restraint, Restraint::Free);
    }
}

#[test]
fn what_an_armed_autopilot_may_be_asked_is_for_the_user_to_say() {
    for (when_armed, listed, removed) in [
        (Restraint::Free, None, None),
        (Restraint::Limited, None, Some(Err(Error::Armed))),
        (Restraint::Silent, Some(Err(Error::Armed)), Some(Err(Error::Armed))),
    ] {
        let mut bench = Bench::new();
        bench.hub = Hub::new(bench.now, Options { when_armed, ..OPTIONS });
        bench.beat(1, 1, 1, Heartbeat { base_mode: 128, ..PX4 });
        bench.request(1, list());
        assert_eq!(done(&bench.drain()), listed, "{when_armed:?}");
        bench.request(2, Op::Remove { path: b"/a".to_vec() });
        assert_eq!(done(&bench.drain()), removed, "{when_armed:?}");
    }
}

#[test]
fn an_armed_autopilot_is_asked_who_it_is() {
    let mut bench = Bench::new();
    bench.beat(1, 1, 1, Heartbeat { base_mode: 128, ..PX4 });
    bench.request(1, list());
    let asks = |output: &HubOutput<u8>| matches!(output, HubOutput::Send(_, Frame::AskIdentity(_)));
    assert!(bench.drain().iter().any(asks));
}

#[test]
fn a_vehicle_that_is_waited_for_gets_requests_while_it_is_silent() {
    let mut bench = Bench::new();
    bench.hub.set_loss_patience(Duration::from_secs(60));
    bench.beat(1, 1, 1, PX4);
    bench.wait(8);
    bench.request(1, list());
    assert_eq!(done(&bench.drain()), None);
    bench.wait(59);
    assert_eq!(done(&bench.drain()), None);
    bench.wait(1);
    assert_eq!(done(&bench.drain()), Some(Err(Error::TimedOut)));
}

/// Lets the seconds of the questions go by, in each of which the vehicle is heard.
fn ask_in_vain(bench: &mut Bench, seconds: u64) -> usize {
    let asks =
        |output: &&HubOutput<u8>| matches!(output, HubOutput::Send(_, Frame::AskIdentity(_)));
    let mut asked = bench.drain().iter().filter(asks).count();
    for _ in 0..seconds {
        bench.wait(1);
        bench.beat(1, 1, 1, PX4);
        asked += bench.drain().iter().filter(asks).count();
    }
    asked
}

/// One that has said who it is, and is back from a silence.
fn returned() -> Bench {
    let mut bench = Bench::new();
    bench.beat(1, 1, 1, PX4);
    bench.identify(42);
    bench.wait(6);
    bench.beat(1, 1, 1, PX4);
    bench
}

#[test]
fn a_vehicle_that_no_longer_says_who_it_is_may_be_another() {
    let mut bench = returned();
    let before = bench.look();
    bench.identify(0);
    let after = bench.look();
    assert_eq!((after.identity, after.epoch), (None, before.epoch + 1));
    assert_eq!(after.last_other, before.last_other, "nothing shows that it is another");
    bench.identify(0);
    assert_eq!(bench.look().epoch, after.epoch);
}

#[test]
fn a_vehicle_that_does_not_answer_who_it_is_may_be_another() {
    let mut bench = returned();
    let before = bench.look();
    assert_eq!(ask_in_vain(&mut bench, 4), 5);
    assert_eq!(bench.look(), before, "answers may be lost");
    assert_eq!(ask_in_vain(&mut bench, 1), 0);
    let after = bench.look();
    assert_eq!((after.identity, after.epoch), (None, before.epoch + 1));
}

#[test]
fn a_vehicle_that_is_not_heard_is_not_asked_who_it_is_and_stays_who_it_was() {
    let mut bench = returned();
    let before = bench.look();
    bench.drain();
    bench.now += Duration::from_millis(4_900);
    (0..9).for_each(|_| assert!(bench.drain().len() <= 1));
    bench.beat(1, 1, 1, PX4);
    assert_eq!(ask_in_vain(&mut bench, 1), 1);
    bench.identify(42);
    assert_eq!(bench.look().epoch, before.epoch);
    assert_eq!(bench.look().identity, before.identity);
}
