// FetchPlan: which source is asked for which stripes, and when a stripe is to be believed. Pure: time is passed in.
//
// Every source begins with its own share (stripe i of n: source i % n) and, when that is done, takes over from who would
// take longest by measured speed. A stripe's digest is asked of another source too (its witness); a stripe is done when two
// sources agree, or when only one is left. Where two differ, a third decides, or that one of the two differs from a third in
// another stripe; who is wrong is dropped for good: it
// lies, or its memory does. A source that has not answered for several times what it should take has its stripes given
// to others, and is dropped when it stays silent.
// What the joiner holds as two sources agreed as of an older mark is asked for only where one says that it has changed.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"

namespace regroup::state {

class FetchPlan {
 public:
  using Source = std::uint32_t;
  using StripeId = std::uint32_t;
  struct Limits {
    std::uint32_t batch = 16;                        // stripes asked for at once, at most
    Duration batch_time = Duration::from_ms(30);     // and what a source can give in this time
    Duration slow = Duration::from_ms(300);          // no answer for so long (and 4 times what it should take): others help
    Duration silent = Duration::from_ms(1000);       // dropped
    bool witnesses = true;
  };
  struct Ask {
    std::vector<StripeId> stripes, digests;
    [[nodiscard]] bool empty() const { return stripes.empty() && digests.empty(); }
  };
  struct Per {  // of one source
    bool lost = false;
    bool lied = false;        // two others contradict it: not to be asked again
    std::string why;
    std::uint64_t bytes = 0;  // of stripes that counted
    double speed = 0;         // bytes/s; 0: not known yet
  };

  FetchPlan(std::vector<std::uint32_t> stripe_bytes, std::uint32_t sources, Limits limits);

  // Before the first next(): the joiner holds these bytes, believed as of an older mark.
  void known(StripeId stripe, std::uint64_t digest);
  // The digest of a stripe that is done, and that two sources vouch for, or the only one that there ever was: for known().
  [[nodiscard]] std::optional<std::uint64_t> digest_of(StripeId stripe) const;
  // What `source` is to be asked for now; at most one Ask at a time is out per source.
  Ask next(Source source, Instant now);
  // `source` gave this stripe, whose bytes have this digest. True: keep the bytes (the first, or they replace wrong ones).
  bool arrived(Source source, StripeId stripe, std::uint64_t digest, Instant now);
  void told(Source source, StripeId stripe, std::uint64_t digest, Instant now);
  // It does not have it as of the mark.
  void gone(Source source, StripeId stripe, Instant now);
  void lost(Source source, const std::string& why);
  // Drops who is silent.
  void tick(Instant now);

  [[nodiscard]] bool done() const { return done_ == stripes_.size(); }
  // Nobody can give what is missing: a newer snapshot is needed.
  [[nodiscard]] std::optional<std::string> stuck() const;
  [[nodiscard]] std::uint64_t bytes_done() const { return bytes_done_; }
  [[nodiscard]] std::uint64_t bytes_kept() const { return bytes_kept_; }  // of those, known before and unchanged
  [[nodiscard]] const std::vector<Per>& sources() const { return per_; }

 private:
  static constexpr Source kOlder = UINT32_MAX;  // State::from: an older mark
  struct State {
    bool assigned = false;  // asked of somebody who may still answer
    bool held = false;      // the joiner holds bytes of digest `digest`, from `from`
    bool done = false;
    bool alone = false;     // done, on the word of one
    Source from = 0;
    std::uint64_t digest = 0;
    std::uint32_t without = 0;                  // bit set: sources that do not have it
    std::map<Source, std::uint64_t> witnesses;  // what others say
  };
  struct Out {
    std::vector<StripeId> stripes, digests;
    Instant since{0};
    std::uint64_t bytes = 0;
  };
  void judge(StripeId stripe);
  void finish(StripeId stripe, bool alone = false);
  void judge_known(StripeId stripe);
  void differ(Source a, Source b);
  void lies(Source source, const std::string& why);
  void want_witness(StripeId stripe);
  void other_witness(StripeId stripe, Source late);
  void answered(Source source, std::uint64_t bytes, Instant now);
  [[nodiscard]] std::uint32_t alive() const;
  [[nodiscard]] bool can(Source source, StripeId stripe) const;
  [[nodiscard]] bool late(Source source, Instant now) const;

  std::vector<std::uint32_t> bytes_;
  Limits limits_;
  std::vector<State> stripes_;
  std::vector<Per> per_;
  std::vector<std::deque<StripeId>> todo_;      // by owner of the share
  std::vector<std::deque<StripeId>> to_tell_;   // digests to ask of each source
  std::vector<Out> out_;
  std::vector<std::uint32_t> differs_;          // bit set, by source: whom it differs from in a stripe that nobody decides
  std::size_t done_ = 0;
  std::uint64_t bytes_done_ = 0, bytes_kept_ = 0;
};

}  // namespace regroup::state
