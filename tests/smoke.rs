//! Smoke.
use execloop::*;
use std::time::Duration;
#[test]
fn smoke() {
    let out = Command::new("echo").arg("hi").output().unwrap();
    assert_eq!(out, b"hi\n");
    let e = Command::new("sh")
        .args(["-c", "echo oops >&2; exit 3"])
        .output()
        .unwrap_err();
    println!("{e} {e:?}");
    for c in [
        Command::new("/nope"),
        Command::new("nope"),
        Command::new(""),
    ] {
        let mut c = c;
        println!("{}", c.run().unwrap_err());
    }
    println!(
        "{}",
        Command::new("true").current_dir("/nope").run().unwrap_err()
    );
    println!(
        "{:?}",
        Command::new("sleep")
            .arg("5")
            .timeout(Duration::from_millis(30))
            .run()
            .unwrap_err()
            .to_string()
    );
    println!(
        "{:?}",
        Command::new("sh")
            .args(["-c", "sleep 3 & echo x"])
            .wait_delay(Duration::from_millis(30))
            .stdout(Output::capture())
            .finish()
    );
    println!(
        "{:?}",
        Command::new("cat")
            .stdin(Input::bytes(vec![b'x'; 1 << 20]))
            .output()
            .unwrap()
            .len()
    );
    let mut r = Reactor::builder().max_running(64).build().unwrap();
    let mut c = Command::new("echo");
    c.arg("yo").stdout(Output::capture());
    for _ in 0..2000 {
        r.start(&mut c).unwrap();
    }
    let mut n = 0;
    while let Some(f) = r.wait_any().unwrap() {
        assert_eq!(f.stdout, b"yo\n");
        n += 1;
    }
    assert_eq!(n, 2000);
    let id = r
        .start(
            Command::new("cat")
                .stdin(Input::pipe())
                .stdout(Output::pipe()),
        )
        .unwrap();
    use std::io::{Read, Write};
    r.stdin(id).unwrap().write_all(b"hello").unwrap();
    r.stdin(id).unwrap().close();
    let mut s = String::new();
    r.stdout(id).unwrap().read_to_string(&mut s).unwrap();
    assert_eq!(s, "hello");
    assert!(r.wait(id).unwrap().unwrap().success());
    let ls = Command::new("ls")
        .args(["-l", "/proc/self/fd"])
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&ls));
    r.start(Command::new("sleep").arg("100")).unwrap();
}
