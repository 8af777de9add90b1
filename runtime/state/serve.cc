#include "runtime/state/serve.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "runtime/state/throttle.h"
#include "runtime/state/wire.h"

namespace regroup::state {
namespace {

constexpr std::size_t kChunkBytes = 1u << 20;
constexpr Duration kTakeWait = Duration::from_s(10);     // the owner's next steps
constexpr Duration kYieldAtMost = Duration::from_ms(20);  // to collective and update at hand; then it goes on for as long
constexpr Duration kFreeCpu = Duration::from_ms(30);      // of a transfer, before its share of a core counts
constexpr Duration kSparesEvery = Duration::from_ms(3);
constexpr Duration kIdle = Duration::from_s(60);

wire::Frame frame_of(std::uint16_t type, std::uint32_t chunk = 0) {
  wire::Frame frame;
  frame.type = type;
  frame.chunk = chunk;
  return frame;
}

void fail(Stream& stream, const Error& why) {
  (void)stream.send(frame_of(kFailed, static_cast<std::uint32_t>(why.code)), std::as_bytes(std::span(why.detail.data(), why.detail.size())))
      .ok();
}

Duration thread_cpu_time() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return Duration{static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec};
}

void pause(Duration d) {
  if (d.ns > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(d.ns));
}

class Server {
 public:
  Server(Stream& stream, Holder& holder, const std::atomic<bool>& stop)
      : stream_(stream), holder_(holder), stop_(stop), throttle_(holder.config().rate), share_(holder.config().share, kFreeCpu) {}

  ~Server() { let_go(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void run() {
    for (;;) {
      stream_.set_deadline(now() + kIdle);
      Result<wire::Frame> frame = stream_.receive_header();
      if (!frame || frame->length > kMaxTableBytes) return;
      std::vector<std::byte> payload(frame->length);
      if (!stream_.receive_payload(*frame, payload)) return;
      stream_.set_deadline(now() + kIdle);
      const bool go_on = frame->type == kTake ? take(payload) : frame->type == kGet && get(payload);
      if (!go_on) return;
    }
  }

 private:
  bool take(std::span<const std::byte> payload) {
    const auto ask = decode_take(payload);
    if (!ask) return false;
    let_go();
    hurry(ask->hurry);
    const Snapshot::Share share = ask->compare ? Snapshot::digests_of(ask->source, ask->sources) : Snapshot::share_of(ask->source, ask->sources);
    Result<Holder::Taken> taken = holder_.take(ask->step, share, now() + kTakeWait, stop_, !ask->compare);
    if (!taken) return fail(stream_, taken.error()), taken.code() == Code::kUnavailable;
    taken_ = std::move(*taken);
    if (!ask->compare) spares_ = std::thread([this, snapshot = taken_.snapshot] { make_spares(*snapshot); });
    Writer w;
    w.u64(taken_.version.op);
    w.u32(static_cast<std::uint32_t>(taken_.blobs.size()));
    for (const auto& blob : taken_.blobs) w.text({reinterpret_cast<const char*>(blob.data()), blob.size()});
    if (w.bytes().size() > kMaxTableBytes)
      return fail(stream_, {Code::kNoMemory, "the blobs of the state are over " + std::to_string(kMaxTableBytes) + " bytes"}), false;
    return stream_.send(frame_of(kTaken), w.bytes()).ok();
  }

  bool get(std::span<const std::byte> payload) {
    const auto ask = decode_get(payload);
    if (!ask || !taken_.snapshot) return false;
    for (std::uint32_t i : ask->stripes) {
      if (i >= holder_.table().size()) return false;
      make_way(holder_.table()[i].bytes);
      bytes_.resize(holder_.table()[i].bytes);
      const Snapshot::Read read = taken_.snapshot->read(i, bytes_);
      if (read == Snapshot::Read::kOver) return over();
      const Status sent = read == Snapshot::Read::kOk ? stream_.send(frame_of(kStripe, i), bytes_) : stream_.send(frame_of(kGone, i), {});
      if (!sent) return false;
    }
    std::vector<Told> told;
    for (std::uint32_t i : ask->digests) {
      make_way(0);
      Told t{i, false, 0};
      const Snapshot::Read read = i < holder_.table().size() ? taken_.snapshot->digest(i, t.digest) : Snapshot::Read::kGone;
      if (read == Snapshot::Read::kOver) return over();
      t.there = read == Snapshot::Read::kOk;
      told.push_back(t);
    }
    return stream_.send(frame_of(kDigests), encode(told)).ok();
  }

  // What did not suffice until the journal was full is doubled: a joiner that never arrives costs more than one in a hurry.
  void hurry(std::uint32_t times) {
    if (times < kUrgent) yield_to_collectives();
    if (times == 0) return;
    const Holder::Config& config = holder_.config();
    const double share = std::ldexp(config.share, static_cast<int>(times));
    throttle_ = Throttle(config.rate << times >> times == config.rate ? config.rate << times : 0);
    share_ = CpuShare(share < 1 ? share : 0, kFreeCpu);
    yields_ = {kYieldAtMost.ns >> times};
  }

  // The owner keeps nothing for it any more, and does not free what it has kept.
  void let_go() {
    end_.store(true);
    if (spares_.joinable()) spares_.join();
    end_.store(false);
    if (taken_.snapshot) taken_.snapshot->end();
    taken_ = {};
  }

  bool over() {
    fail(stream_, {Code::kUnavailable, "the snapshot has ended: over snapshot_bytes"});
    return false;
  }

  // Memory for what the owner is going to overwrite, so that it faults in none itself.
  void make_spares(Snapshot& snapshot) {
    yield_to_collectives();
    while (!end_.load() && !stop_.load())
      if (busy() || !snapshot.make_spare()) pause(kSparesEvery);
  }

  [[nodiscard]] bool busy() const { return (holder_.config().busy && holder_.config().busy()) || holder_.updating(); }
  // Collectives and updates come first; then the share of a core, and the rate.
  void make_way(std::uint64_t bytes) {
    const Instant until = now() + yields_;
    while (now() >= goes_on_until_ && busy() && !stop_.load())
      if (pause(Duration::from_us(500)); now() >= until) goes_on_until_ = now() + kYieldAtMost;
    const Duration used = thread_cpu_time();
    pause(share_.rest(used - std::exchange(used_, used), now()));
    if (bytes != 0) pause(throttle_.take(bytes, now()));
  }

  Stream& stream_;
  Holder& holder_;
  const std::atomic<bool>& stop_;
  Throttle throttle_;
  CpuShare share_;
  Duration used_ = thread_cpu_time(), yields_ = kYieldAtMost;
  Instant goes_on_until_{0};
  std::atomic<bool> end_{false};
  std::thread spares_;
  Holder::Taken taken_;
  std::vector<std::byte> bytes_;
};

// One committed result: its head, then its bytes.
bool send_entry(Stream& stream, const Entry& entry) {
  if (!stream.send(frame_of(kResult), encode_entry(entry))) return false;
  for (std::size_t at = 0; at < entry.data.size(); at += kChunkBytes)
    if (!stream.send(frame_of(kChunk), std::span(entry.data).subspan(at, std::min(kChunkBytes, entry.data.size() - at)))) return false;
  return true;
}

struct Subscription {
  Feed& feed;
  OpId last;
  explicit Subscription(Feed& f) : feed(f), last(f.subscribe()) {}
  ~Subscription() { feed.unsubscribe(); }
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;
};

}  // namespace

void yield_to_collectives() { ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), 19); }

void serve_data(Stream& stream, Holder& holder, std::span<const std::byte> open, const std::atomic<bool>& stop) {
  Reader r(open);
  Result<StripeTable> theirs = StripeTable::decode(r);
  if (!theirs || !r.done()) return fail(stream, {Code::kRefused, "malformed table of state"});
  if (Status s = theirs->compare(holder.table()); !s) return fail(stream, s.error());  // as the joiner sees it: "here" is its own
  if (!stream.send(frame_of(kVersion), encode(holder.version()))) return;
  Server(stream, holder, stop).run();
}

void serve_feed(Stream& stream, Holder& holder, std::span<const std::byte> open, const std::atomic<bool>& stop) {
  const auto ask = decode_follow(open);
  if (!ask) return;
  const Subscription subscription(holder.feed());
  OpId next = ask->from != 0 ? ask->from : subscription.last + 1;
  Holder::Version head{true, 0, std::max(holder.feed().first(), next)};  // op: the first that comes
  if (!stream.send(frame_of(kVersion), encode(head))) return;
  next = head.op;
  while (!stop.load()) {
    stream.set_deadline(now() + kIdle);
    std::shared_ptr<const Entry> entry;
    const Feed::Next got = holder.feed().next(ask->retain ? UINT64_MAX : next, kAliveEvery, entry);
    if (got == Feed::Next::kGap) return fail(stream, {Code::kUnavailable, "the feed has gone on without you"});
    const bool sent = got == Feed::Next::kOk ? send_entry(stream, *entry) : stream.send(frame_of(kAlive), {}).ok();
    if (!sent) return;
    if (got == Feed::Next::kOk) ++next;
  }
}

}  // namespace regroup::state
