//! Output of a writer that puts its pipe into packet mode (`O_DIRECT`, pipe(2)): each read gives one write.
//! Unaware of everything but `dd`.

#[path = "common/watchdog.rs"]
mod watchdog;

use execloop::Command;

#[test]
fn every_packet_is_captured_though_each_read_gives_one() {
    let mut dd = Command::new("dd");
    dd.args(["if=/dev/zero", "bs=1000", "count=200", "oflag=direct"]);
    let output = match dd.output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: dd here has no oflag=direct ({error})");
            return;
        }
    };
    assert_eq!(output.len(), 200_000);
}
