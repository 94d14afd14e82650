/**
 * The demo tenant's `account`: a balance in whole units, its owner, and no way below zero.
 *
 * The gateway enforces the order of messages; the handler holds its own against a wrong one all the same.
 */
import { fail, Outcome, reply, replyAndStore, Turn } from "../lib/handler";
import { INTEGER_MAX, View, Writer } from "../lib/json";

export { pn_alloc } from "../lib/handler";

export function pn_handle(ptr: i32, length: i32): i64 {
  return handle(new Turn(ptr, length)).write();
}

function handle(turn: Turn): Outcome {
  const state = turn.state;
  if (state === null) {
    if (turn.message != "open") return fail("not_open", "the account was not opened");
    return new Account(ownerOf(turn.args), 0, false).save();
  }
  const account = Account.load(state);
  if (turn.message == "open") return fail("already_open", "the account was opened before");
  if (account.closed) return fail("account_closed", "the account is closed");
  if (turn.message == "balance") return reply(balanceOf(account.balance));
  if (turn.message == "close") return account.close();

  const amount = amountOf(turn.args);
  if (amount <= 0) return fail("invalid_amount", "the amount must be a whole number above 0");
  if (turn.message == "deposit") return account.deposit(amount);
  if (turn.message == "withdraw") return account.withdraw(amount);
  return fail("unknown_message", "the account does not know this message");
}

class Account {
  constructor(
    private owner: string,
    public balance: i64,
    public closed: bool,
  ) {}

  static load(state: View): Account {
    const closed = state.member("closed");
    return new Account(ownerOf(state), integerOf(state, "balance"), closed !== null && closed.isTrue);
  }

  deposit(amount: i64): Outcome {
    if (amount > INTEGER_MAX - this.balance)
      return fail("balance_too_large", "the balance would pass 2^53 - 1, the largest exact number");
    this.balance += amount;
    return this.save();
  }

  withdraw(amount: i64): Outcome {
    if (amount > this.balance) return fail("insufficient_funds", `the balance is ${this.balance}`);
    this.balance -= amount;
    return this.save();
  }

  /** Pays out what is left: the reply is the last balance, the state has none. */
  close(): Outcome {
    const paid = this.balance;
    this.balance = 0;
    this.closed = true;
    return replyAndStore(balanceOf(paid), this.toState());
  }

  save(): Outcome {
    return replyAndStore(balanceOf(this.balance), this.toState());
  }

  private toState(): Writer {
    const state = new Writer().string("owner", this.owner).integer("balance", this.balance);
    return this.closed ? state.boolean("closed", true) : state;
  }
}

function balanceOf(balance: i64): Writer {
  return new Writer().integer("balance", balance);
}

function ownerOf(value: View): string {
  const owner = value.member("owner");
  return owner === null ? "" : owner.text();
}

function amountOf(args: View): i64 {
  return integerOf(args, "amount");
}

/** 0 where it is missing or no exact integer. */
function integerOf(value: View, name: string): i64 {
  const member = value.member(name);
  return member === null ? 0 : member.integer(0);
}
