// The checker alone: histories written by hand, one broken guarantee each.
#include <catch2/catch.hpp>

#include "ft/sim/checker.h"

using namespace regroup;
using namespace regroup::sim;

namespace {

// Two members in epoch 1 who settle ops one after the other.
struct History {
  Checker checker;
  std::string wrong;  // the first
  void say(Record r) {
    r.log = 9;
    if (std::string w = checker.on(r); wrong.empty()) wrong = w;
  }
  void durable(Epoch epoch, OpId trim, bool planned = false, std::uint64_t decision = 0) {
    Record r;
    r.what = What::kDurable, r.epoch = epoch, r.prev = epoch - 1, r.op = trim, r.planned = planned;
    r.decision = decision != 0 ? decision : 100 + epoch;
    say(r);
  }
  void install(std::uint32_t who, Epoch epoch, OpId trim, std::uint64_t decision = 0) {
    say(make(who, What::kInstall, trim, epoch, decision != 0 ? decision : 100 + epoch));
  }
  void submit(std::uint32_t who, OpId op, bool mark = true) {
    Record r = make(who, What::kSubmitted, op, 1, 0);
    r.mark = mark;
    say(r);
  }
  void prepare(std::uint32_t who, OpId op, Epoch epoch) { say(make(who, What::kPrepared, op, epoch, 0)); }
  void wedge(std::uint32_t who, Epoch epoch) { say(make(who, What::kWedge, 0, epoch, 0)); }
  Record commit_of(std::uint32_t who, OpId op, Epoch epoch) {
    Record r = make(who, What::kCommitted, op, epoch, 0);
    r.contributors = 3, r.divisor = 2;
    r.value = r.expected = {0x11, 1000 + op};
    return r;
  }
  void commit(std::uint32_t who, OpId op, Epoch epoch) { say(commit_of(who, op, epoch)); }
  void fail(std::uint32_t who, OpId op, Code code = Code::kViewChanged, bool untouched = true) {
    Record r = make(who, What::kFailed, op, 1, 0);
    r.code = code, r.untouched = untouched;
    say(r);
  }
  void begin() {
    durable(1, 0);
    install(0, 1, 0), install(1, 1, 0);
    for (std::uint32_t who : {0u, 1u}) submit(who, 1), submit(who, 2), submit(who, 3, false);
  }
  static Record make(std::uint32_t who, What what, OpId op, Epoch epoch, std::uint64_t decision) {
    Record r;
    r.life = who, r.replica = who, r.what = what, r.op = op, r.epoch = epoch, r.decision = decision;
    return r;
  }
};

}  // namespace

TEST_CASE("a history without fault passes") {
  History h;
  h.begin();
  for (std::uint32_t who : {0u, 1u}) h.prepare(who, 1, 1), h.commit(who, 1, 1), h.fail(who, 2);
  h.wedge(0, 1), h.wedge(1, 1);
  h.durable(2, 2);
  h.install(0, 2, 2), h.install(1, 2, 2);
  h.commit(0, 3, 2), h.commit(1, 3, 2);
  CHECK(h.wrong == "");
  CHECK(h.checker.totals().commits == 4);
}

TEST_CASE("each broken guarantee is named") {
  History h;
  h.begin();
  std::string expected;
  SECTION("other bits") {
    h.commit(0, 1, 1);
    Record r = h.commit_of(1, 1, 1);
    r.value = r.expected = {0x11, 7};
    h.say(r);
    expected = "G1";
  }
  SECTION("other contributors") {
    h.commit(0, 1, 1);
    Record r = h.commit_of(1, 1, 1);
    r.contributors = 1, r.divisor = 1;
    h.say(r);
    expected = "G1";
  }
  SECTION("committed in two epochs") {
    h.commit(0, 1, 1);
    h.durable(2, 1);
    h.install(1, 2, 0);
    h.commit(1, 1, 2);
    expected = "G1";
  }
  SECTION("a decision takes a commit back") {
    h.commit(0, 1, 1);
    h.durable(2, 0);
    expected = "G1";
  }
  SECTION("a commit after a decision without it") {
    h.durable(2, 0);
    h.commit(0, 1, 1);
    expected = "G1";
  }
  SECTION("not the fold of the inputs") {
    Record r = h.commit_of(0, 1, 1);
    r.value.counts = 0x12;
    h.say(r);
    expected = "G2";
  }
  SECTION("wrong divisor") {
    Record r = h.commit_of(0, 1, 1);
    r.divisor = 3;
    h.say(r);
    expected = "G2";
  }
  SECTION("an op left out") {
    h.commit(0, 2, 1);
    expected = "G4";
  }
  SECTION("committed here, failed there") {
    h.commit(0, 1, 1);
    h.fail(1, 1);
    expected = "G4";
  }
  SECTION("failed with different codes") {
    h.fail(0, 1);
    h.fail(1, 1, Code::kCancelled);
    expected = "G4";
  }
  SECTION("a planned change in mid-step") {
    h.durable(2, 3, true);
    expected = "G4";
  }
  SECTION("a joiner with another state") {
    h.commit(0, 1, 1);
    Record r = History::make(5, What::kRestored, 1, 0, 0);
    r.state = 77;
    h.say(r);
    expected = "G4";
  }
  SECTION("two decisions for one epoch") {
    h.durable(2, 0, false, 1), h.durable(2, 0, false, 2);
    expected = "G6";
  }
  SECTION("installed before it is durable") {
    h.install(0, 2, 0);
    expected = "G6";
  }
  SECTION("an epoch installed twice") {
    h.install(0, 1, 0);
    expected = "G6";
  }
  SECTION("prepared after the report") {
    h.wedge(0, 1);
    h.prepare(0, 1, 1);
    expected = "G7";
  }
  SECTION("prepared in an epoch that is over") {
    h.durable(2, 0);
    h.install(0, 2, 0);
    h.prepare(0, 1, 1);
    expected = "G7";
  }
  SECTION("a failed op has touched its buffers") {
    h.fail(0, 1, Code::kViewChanged, false);
    expected = "G8";
  }
  CAPTURE(h.wrong);
  CHECK(h.wrong.substr(0, 2) == expected);
}

namespace {

Record message(const History& h, std::uint32_t who, std::uint32_t peer, What what, std::uint64_t n, bool sends) {
  Record r = h.make(who, what, n, 1, 0);
  r.peer = peer, r.sends = sends;
  r.value = r.expected = {n, 77};
  return r;
}

}  // namespace

TEST_CASE("messages that end alike at both ends are fine, in each direction by itself") {
  History h;
  h.begin();
  h.say(message(h, 0, 1, What::kMessageSent, 1, true));
  h.say(message(h, 1, 0, What::kMessageTaken, 1, false));
  h.say(message(h, 1, 0, What::kMessageTaken, 2, false));
  h.say(message(h, 1, 0, What::kMessageFailed, 1, true));
  h.say(message(h, 0, 1, What::kMessageSent, 2, true));
  h.say(message(h, 0, 1, What::kMessageFailed, 3, true));
  CHECK(h.wrong == "");
}

TEST_CASE("a message that failed at one end and went well at the other breaks G1, whoever is first") {
  for (const bool taken : {true, false})
    for (const bool first : {true, false}) {
      History h;
      h.begin();
      const Record good = taken ? message(h, 1, 0, What::kMessageTaken, 1, false) : message(h, 0, 1, What::kMessageSent, 1, true);
      const Record bad = message(h, taken ? 0 : 1, taken ? 1 : 0, What::kMessageFailed, 1, taken);
      h.say(first ? good : bad), h.say(first ? bad : good);
      CHECK(h.wrong.starts_with("G1: message 1"));
    }
}

TEST_CASE("a message that ends twice or out of turn breaks G4, one with other bytes G2") {
  History twice, skips, other;
  twice.begin(), skips.begin(), other.begin();
  twice.say(message(twice, 1, 0, What::kMessageTaken, 1, false));
  twice.say(message(twice, 1, 0, What::kMessageTaken, 1, false));
  CHECK(twice.wrong.starts_with("G4: message 1"));
  skips.say(message(skips, 0, 1, What::kMessageSent, 2, true));
  CHECK(skips.wrong.starts_with("G4: message 2"));
  Record r = message(other, 1, 0, What::kMessageTaken, 1, false);
  r.value.tag = 78;
  other.say(r);
  CHECK(other.wrong.starts_with("G2: message 1"));
}

TEST_CASE("with a member that never heard of its first view messages begin anew") {
  History h;
  h.durable(1, 0);
  h.install(0, 1, 0);
  h.say(message(h, 0, 1, What::kMessageFailed, 1, true));  // it was named, and out again
  h.durable(2, 0), h.durable(3, 0);
  h.install(0, 2, 0), h.install(0, 3, 0), h.install(1, 3, 0);
  h.say(message(h, 1, 0, What::kMessageTaken, 1, false));
  h.say(message(h, 0, 1, What::kMessageSent, 1, true));
  CHECK(h.wrong == "");
}
