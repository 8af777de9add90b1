// The joiner's ends of the connections to holders (wire.h): one for stripes, one for the feed. Blocking, one thread each; every
// wait has a bound. kConfig: registered state differs, and how; kUnavailable, kTimeout: try another; kRefused: not our protocol.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "ft/core/view.h"
#include "runtime/state/stream.h"
#include "runtime/state/wire.h"

namespace regroup::state {

struct Reach {  // how a joiner reaches holders
  std::string group, secret;
  const std::atomic<bool>* stop = nullptr;
};

class SourceLink {
 public:
  SourceLink(Reach reach, MemberInfo who) : reach_(std::move(reach)), who_(std::move(who)) { reach_.stop = &stop_; }
  Result<Holder::Version> open(const StripeTable& mine, Instant deadline);
  struct Taken {
    OpId op = 0;
    std::vector<std::vector<std::byte>> blobs;
  };
  Result<Taken> take(const TakeAsk& ask, Instant deadline);
  struct Answers {
    std::function<void(std::uint32_t stripe, std::span<const std::byte>)> stripe;
    std::function<void(std::uint32_t stripe)> gone;
    std::function<void(const Told&)> told;
  };
  // patience: for each answer.
  Status get(const StripeTable& table, const GetAsk& ask, const Answers& answers, Duration patience);
  [[nodiscard]] const MemberInfo& who() const { return who_; }
  void stop() { stop_.store(true); }  // any thread: ends what waits here
  void close() { stream_.reset(); }

 private:
  Reach reach_;
  MemberInfo who_;
  std::atomic<bool> stop_{false};
  std::optional<Stream> stream_;
  std::vector<std::byte> bytes_;
};

class FeedLink {
 public:
  FeedLink(Reach reach, MemberInfo who) : reach_(std::move(reach)), who_(std::move(who)) {}
  // The first op that will come.
  Result<OpId> open(const FollowAsk& ask, Instant deadline);
  // Nothing: a sign of life. max_bytes: of one result.
  Result<std::optional<Entry>> next(Duration patience, std::uint64_t max_bytes);
  [[nodiscard]] const MemberInfo& who() const { return who_; }

 private:
  Reach reach_;
  MemberInfo who_;
  std::optional<Stream> stream_;
};

}  // namespace regroup::state
