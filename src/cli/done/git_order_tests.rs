use super::*;
use rstest::rstest;

#[rstest]
#[case("Fix the parser, run the tests, then git push origin main.")]
#[case("git push")]
#[case("GIT PUSH when you are done")]
#[case("Please `git push` it.")]
#[case("Commit and run `git push --force`.")]
#[case("Then:\n```sh\ngit add -A\ngit commit -m x\ngit push\n```\n")]
#[case("```\n$ git push\n```")]
#[case("Rebase with git rebase -i main")]
#[case("Take the fix over: git cherry-pick abc1234")]
#[case("Use --force-with-lease for that.")]
#[case("Use --force-with-lease=main for that.")]
#[case("Update the branch by --force-push")]
#[case("git -C repo push")]
#[case("git --no-pager -c user.name=x push origin")]
#[case("/usr/bin/git push")]
#[case("Use git\npush for it")]
#[case("cd repo && git push")]
#[case("cd repo;git push")]
#[case("**git push** it")]
#[case("_git push_ it")]
#[case("(git push)")]
#[case("At the end of it all: git push.")]
// A negation that is about something else.
#[case("Do not forget to git push")]
#[case("Don't forget: git push at the end.")]
#[case("Never fail to git push.")]
#[case("Don't stop before you git push.")]
#[case("Do not call done until you git push")]
#[case("Do not finish without git push.")]
#[case("Do not touch main. Then git push your branch.")]
#[case("Do not touch main; git push your branch.")]
#[case("Do not wait for me, git push right away")]
#[case("Don't ask, just git push.")]
#[case("Do not open a PR, but git push the branch.")]
#[case("Do not touch the tests\ngit push origin dev")]
#[case("Do not touch the tests.\n\ngit push origin dev")]
#[case("Do not:\n- touch the tests\n\nDo:\n- git push")]
#[case("Work without network access. Finally git push.")]
#[case("Avoid long functions and git push your work")]
#[case("The server is not v1.2 compatible; git push anyway")]
// One is forbidden, another one ordered.
#[case("Do not use git push. Use git rebase instead.")]
#[case("Do not use git push; instead git cherry-pick the commit")]
#[case("Never git push to main, but git push to dev.")]
#[case("Do not run git rebase.\nAfterwards git push.")]
#[case("Use git push but never --force-with-lease")]
fn ordered(#[case] prompt: &str) {
    assert!(ordered_command(prompt).is_some());
}

#[rstest]
#[case("")]
#[case("Summarise the repository.")]
#[case("git commit, git status and git pull")]
#[case("Do not use git push")]
#[case("do not git push")]
#[case("DO NOT GIT PUSH!")]
#[case("Don't run git push.")]
#[case("Don’t run git push.")]
#[case("dont git push")]
#[case("never run git push")]
#[case("Never use `git push` or `git rebase` here.")]
#[case("Do not run git rebase, git push or git cherry-pick.")]
#[case("Do not commit, tag, or git push.")]
#[case("Do not commit, git push, or tag.")]
#[case("Please do not under any circumstances call git push --force-with-lease")]
#[case("You must not git push.")]
#[case("You should never, ever run git push")]
#[case("You are not allowed to git push")]
#[case("It is forbidden to git push")]
#[case("You cannot git push from here")]
#[case("Avoid git push")]
#[case("avoid using git push --force-push")]
#[case("Do it without git push.")]
#[case("Do it without running git rebase or git push.")]
#[case("Use merge, not git rebase")]
#[case("Merge instead of git rebase.")]
#[case("Make a patch rather than a git push")]
#[case("There is no git push here.")]
#[case("git push is not allowed.")]
#[case("Using git push is forbidden here")]
#[case("git push and git rebase are not needed")]
#[case("Do not use destructive commands, e.g. git push --force")]
#[case("Do not use\ngit push")]
#[case("You should not under any\ncircumstances run git push")]
#[case("Do not run:\n```\ngit push\n```")]
#[case("Never do any of these:\n\n- git rebase\n- git push\n")]
#[case("Do not do these:\n1. git rebase\n2. git push")]
#[case("Explain git rebase.")]
#[case("Explain what git push does")]
#[case("What does git cherry-pick do?")]
#[case("Write about git rebase")]
// No command at all.
#[case("Read https://host.example/git push it to the queue")]
#[case("See https://git-scm.com/docs/git-push and docs/git-rebase.md")]
#[case("Look at docs/git push.md")]
#[case("Set git push.default to simple")]
#[case("Build git push-notifications")]
#[case("The legit push of a button")]
#[case("The git pushes of last week")]
#[case("Clone repo.git push aside the rest")]
#[case("--force-pushed branches")]
fn not_ordered(#[case] prompt: &str) {
    assert_eq!(ordered_command(prompt), None);
}

#[test]
fn the_command_is_given_back_as_it_stands() {
    let prompt = "Do not use git push. Run\u{a0}Git  Rebase main.";
    assert_eq!(ordered_command(prompt), Some("Git  Rebase"));
}

#[test]
fn texts_of_any_script_and_length_are_read() {
    let long = format!("Nie używaj 日本語 {} git push", "zażółć ".repeat(10_000));
    assert_eq!(ordered_command(&long), Some("git push"));
    let many = "do not git push ".repeat(5_000);
    assert_eq!(ordered_command(&many), None);
}
