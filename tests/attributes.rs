//! Child attributes, with and without the system calls that a start uses at best. Each scenario runs and is checked in
//! a helper process, where descriptors, children and signals are private. What cannot be done here is skipped with a
//! line on stderr.
#![cfg(target_os = "linux")]

#[path = "common"]
mod common {
    pub mod finish;
    pub mod helper;
    pub mod helper_path;
    pub mod shell;
    pub mod text;
    mod watchdog;
}

use std::fs::File;

use common::finish::finish;
use common::helper::helper;
use common::shell::shell;
use common::text::text;
use execloop::linux::{CommandExt, Namespaces, Resource};
use execloop::{Cancel, Cause, Command, CommandError, Context, Error, Input, Output, StartError};

/// Runs one scenario with these calls refused (`CALL=ERRNO`).
#[track_caller]
fn scenario(name: &str, refused: &[&str]) {
    let mut command = helper("attributes");
    // A group of its own, as one of them signals its group.
    command.arg(name).args(refused).process_group(0);
    let done = finish(command.stdout(Output::capture()).stderr(Output::capture()));
    for line in text(&done.stdout)
        .lines()
        .filter(|line| line.starts_with("skipped"))
    {
        eprintln!("{name}: {line}");
    }
    let (out, err) = (text(&done.stdout), text(&done.stderr));
    assert!(
        done.success(),
        "{name} {refused:?}: {:?}\n{out}{err}",
        done.outcome
    );
}

#[test]
fn captured_output_and_input_are_whole() {
    scenario("captures", &[]);
}

#[test]
fn extra_descriptors_arrive_at_their_numbers() {
    scenario("extra-descriptors", &[]);
}

#[test]
fn a_child_has_its_own_descriptors_and_no_others() {
    scenario("hermetic", &[]);
}

#[test]
fn two_hundred_at_once_all_print_their_own() {
    scenario("many", &[]);
}

#[test]
fn a_child_leads_a_group_or_a_session_or_joins_a_group() {
    scenario("groups", &[]);
}

#[test]
fn the_directory_is_entered_after_the_root_and_the_user_changed() {
    scenario("root-and-directory", &[]);
}

#[test]
fn limits_are_the_childs_alone() {
    scenario("limits", &[]);
}

#[test]
fn a_raised_limit_of_descriptors_is_not_passed_on() {
    scenario("restored-limit", &[]);
}

#[test]
fn a_cancel_signals_the_process_or_its_group() {
    scenario("cancels", &[]);
}

#[test]
fn a_signal_reaches_a_running_child_and_no_finished_one() {
    scenario("signals-sent", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn a_pidfd_can_be_kept_after_the_end() {
    scenario("pidfd", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn a_child_dies_with_its_parent_if_it_asked_for_it() {
    scenario("parent-death", &[]);
}

#[test]
fn user_group_and_groups_are_the_childs_alone() {
    scenario("credentials", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn ambient_capabilities_survive_another_user() {
    scenario("capabilities", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn every_kind_of_namespace_is_made_and_entered() {
    scenario("namespaces", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn a_time_namespace_is_made() {
    scenario("time-namespace", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn unshared_mounts_are_private() {
    scenario("private-mounts", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn id_maps_are_written_and_a_refusal_has_its_reason() {
    scenario("maps", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn a_child_that_waits_for_its_maps_dies_with_its_parent() {
    scenario("map-waiter-dies", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn without_privileges_each_refusal_names_its_step() {
    scenario("unprivileged", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn a_child_starts_in_its_cgroup() {
    scenario("cgroup", &[]);
}

#[test]
fn ignored_signals_stay_ignored_caught_ones_do_not_and_the_mask_is_ours() {
    scenario("dispositions", &[]);
}

#[test]
fn no_handler_of_ours_runs_in_a_child() {
    scenario("storm", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn a_filter_that_refuses_the_wait_is_not_taken_for_an_old_kernel() {
    for refusal in ["EPERM", "EACCES"] {
        scenario("waitid-filtered", &[&format!("waitid={refusal}")]);
    }
    for refusal in ["ENOSYS", "EINVAL"] {
        scenario("waitid-missing", &[&format!("waitid={refusal}")]);
    }
}

// By pidfd it can be reached, however that ended (Linux 6.9).
#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn a_group_is_not_signalled_by_the_number_of_a_leader_that_somebody_else_has_taken() {
    for refusal in ["ENOSYS", "EINVAL"] {
        scenario("taken-leader", &[&format!("pidfd_send_signal={refusal}")]);
    }
}

#[test]
#[cfg(execloop_kqueue_shim)]
fn a_group_is_not_signalled_by_the_number_of_a_leader_that_somebody_else_has_taken() {
    scenario("taken-leader", &[]);
}

#[test]
fn input_that_a_child_does_not_read_raises_no_sigpipe() {
    scenario("unread-input", &[]);
    for refusal in ["EOPNOTSUPP", "ENOSYS", "EINVAL", "EPERM"] {
        scenario("unread-input", &[&format!("pwritev2={refusal}")]);
    }
}

#[test]
fn a_child_takes_leaves_and_is_put_in_front_of_a_terminal() {
    scenario("terminals", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn a_stop_that_the_terminal_sends_our_group_does_not_stop_a_child_that_leaves_it() {
    scenario("types-stops", &[]);
    scenario("types-stops", &["clone3=ENOSYS"]);
}

#[test]
fn a_failure_at_any_step_leaves_nothing_behind() {
    scenario("steps", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn a_refused_call_is_told_by_its_step() {
    scenario("unshare-refused", &["unshare=EPERM"]);
    scenario("mount-refused", &["mount=EPERM"]);
    scenario("clone-refused", &["clone3=EPERM", "clone=EPERM"]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn a_way_that_is_refused_later_or_to_one_command_alone_ends_no_other() {
    scenario("refused-later", &[]);
    scenario("refused-once", &[]);
}

#[test]
fn of_two_failures_the_earlier_step_is_told() {
    scenario("order", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn this_process_can_still_be_traced_and_dumped() {
    scenario("dumpable", &[]);
    scenario("dumpable-threads", &[]);
}

#[test]
fn other_threads_keep_their_files_while_children_start() {
    scenario("undisturbed", &[]);
}

#[test]
fn other_threads_keep_their_files_while_children_get_copies_of_the_table() {
    scenario("undisturbed", &["clone3=ENOSYS", "close_range=ENOSYS"]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn without_clone3_all_is_the_same() {
    scenario("all", &["clone3=ENOSYS"]);
    scenario("all", &["clone3=EPERM"]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn without_close_range_all_is_the_same() {
    scenario("all", &["close_range=ENOSYS"]);
    scenario("all", &["close_range=EPERM"]);
    scenario("all", &["close_range=EINVAL"]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn without_pidfd_send_signal_all_is_the_same() {
    scenario("all", &["pidfd_send_signal=ENOSYS"]);
    scenario("all", &["pidfd_send_signal=EPERM"]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn without_any_of_the_three_all_is_the_same() {
    scenario(
        "all",
        &[
            "clone3=ENOSYS",
            "close_range=ENOSYS",
            "pidfd_send_signal=ENOSYS",
        ],
    );
    scenario(
        "all",
        &[
            "clone3=EPERM",
            "close_range=EPERM",
            "pidfd_send_signal=EPERM",
        ],
    );
}

/// What a contradiction is refused with.
#[track_caller]
fn refusal(command: &mut Command) -> &'static str {
    match run(command) {
        Err(Error::Start(StartError::Refused(why))) => why,
        other => panic!("{other:?}"),
    }
}

fn run(command: &mut Command) -> Result<(), Error> {
    command.run().map_err(CommandError::into_reason)
}

fn null() -> File {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .expect("/dev/null")
}

#[test]
fn contradictions_are_refused_before_anything_is_done() {
    let plain = || Command::new("/bin/true");
    let why = refusal(
        plain()
            .session(true)
            .controlling_terminal(0)
            .foreground(null()),
    );
    assert!(why.contains("exclude"), "{why}");
    let why = refusal(plain().session(true).foreground(null()));
    assert!(why.contains("foreground"), "{why}");
    for elsewhere in [
        plain().console(true).session(true),
        plain().console(true).process_group(7),
        plain().console(true).foreground(null()),
        plain().console(true).leave_terminal(true),
    ] {
        let why = refusal(elsewhere);
        assert!(
            why.contains("the console is for a group of the command's own"),
            "{why}"
        );
    }
    let why = refusal(plain().console(true).pool("link"));
    assert!(why.contains("the console is a pool of its own"), "{why}");
    let why = refusal(plain().controlling_terminal(0));
    assert!(why.contains("session(true)"), "{why}");
    let why = refusal(plain().session(true).process_group(1));
    assert!(why.contains("session leader"), "{why}");
    let not_its_own = "the controlling terminal is no descriptor of the command";
    assert_eq!(
        refusal(plain().session(true).controlling_terminal(3)),
        not_its_own
    );
    assert_eq!(
        refusal(plain().session(true).controlling_terminal(-1)),
        not_its_own
    );
    assert_eq!(
        refusal(plain().session(true).controlling_terminal(0).close_fd(0)),
        not_its_own
    );
    // It is not taken by a start that is refused.
    let mut with_extra = plain();
    with_extra
        .session(true)
        .extra_fd(4, null())
        .controlling_terminal(3);
    assert_eq!(refusal(&mut with_extra), not_its_own);
    assert_eq!(refusal(&mut with_extra), not_its_own);

    let maps = "id maps need one new user namespace";
    assert_eq!(refusal(plain().uid_map(0, 0, 1)), maps);
    assert_eq!(
        refusal(plain().gid_map(0, 0, 1).unshare(Namespaces::MOUNT)),
        maps
    );
    let both = (Namespaces::USER, Namespaces::USER | Namespaces::NET);
    assert_eq!(
        refusal(plain().uid_map(0, 0, 1).namespaces(both.0).unshare(both.1)),
        maps
    );

    // A group that the command joins is not its own to kill.
    let why = refusal(
        plain()
            .process_group(1)
            .foreground(null())
            .on_cancel(Cancel::kill().to_group()),
    );
    assert!(why.contains("process_group(0)"), "{why}");
}

#[test]
fn a_contradiction_is_told_before_an_ended_context_and_after_a_missing_program() {
    let context = Context::new();
    context.cancel();
    let mut command = shell("exit 0");
    refusal(command.context(&context).controlling_terminal(0));
    let outcome = run(command.session(true));
    assert!(
        matches!(
            outcome,
            Err(Error::Start(StartError::Stopped(Cause::Cancelled)))
        ),
        "{outcome:?}"
    );
    let outcome = run(Command::new("").controlling_terminal(0));
    assert!(
        matches!(outcome, Err(Error::Start(StartError::NoCommand))),
        "{outcome:?}"
    );
    let outcome = run(Command::new("no-such-program").controlling_terminal(0));
    assert!(
        matches!(outcome, Err(Error::Start(StartError::LookPath(_)))),
        "{outcome:?}"
    );
}

#[test]
fn a_nul_byte_in_the_root_is_refused() {
    let outcome = run(Command::new("/bin/true").chroot("/usr\0"));
    assert!(
        matches!(&outcome, Err(Error::Start(StartError::Nul { what })) if what == "root directory"),
        "{outcome:?}"
    );
}

#[test]
fn attributes_hold_for_every_start_of_a_command() {
    let mut command = shell(
        "ulimit -c; echo \"$(ps -o pgid= -p $$ 2>/dev/null || echo $$)\" | grep -q $$ && cat",
    );
    command
        .rlimit(Resource::CORE, 0, 0)
        .process_group(0)
        .stdin(Input::null());
    for _ in 0..2 {
        assert_eq!(text(&command.output().expect("it succeeds")), "0\n");
    }
}
