//! Counts up to a million. The state is `{count}`; both messages answer it.
#[path = "../lib/postern.rs"]
mod postern;
use postern::{fail, Answer, Json, Turn};

const COUNT_MAX: i64 = 1_000_000;

postern::handler!(handle);

fn handle(turn: &Turn) -> Answer {
    let count = turn.state.member("count").integer().unwrap_or(0)
        + turn.args.member("amount").integer().unwrap_or(0);
    if count > COUNT_MAX {
        return fail("full", &format!("the counter goes up to {COUNT_MAX}"));
    }
    let state = Json::object([("count", Json::from(count))]);
    Answer::reply(state.clone()).store(state)
}
