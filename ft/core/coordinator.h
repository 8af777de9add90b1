// Coordinator: decides membership, as a pure state machine. One active coordinator per group and view log.
//
// Keeps no state that the members and the view log cannot give back: constructed with the last durable decision, it learns
// the rest from Hellos. A decision is sent to anybody only after Logged says that it is durable (G6). Total and idempotent.
//
// View change (unplanned): wedge all candidates, wait for their reports (one deadline, then go on without the silent),
// trim = min of reported prepared, cut below the first op whose digests differ, log, install. Planned (joins, leaves):
// notice, cut at a mark, wedge, joiners take the state as of trim from a member that has committed it, or, having caught
// up before, the last results up to trim (one deadline, in the second case that of a wedge), log, install. If a member
// fails meanwhile the change is completed without joiners and leavers, and the planned one begins again.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/time.h"
#include "ft/core/detector.h"
#include "ft/core/messages.h"
#include "ft/core/mutant.h"

namespace regroup {

struct CoordinatorConfig {
  std::string group;
  LogId log = 0;
  Duration suspicion = Duration::from_ms(1000);
  Duration max_tick_gap = Duration::from_ms(200);
  Duration lost_grace = Duration::from_ms(50);       // a closed connection may come back within this
  Duration wedge_deadline = Duration::from_ms(1000);
  Duration level_deadline = Duration::from_ms(30000);
  std::uint64_t first_round = 1;  // rounds and plans of this life begin here; lives are kPlansOfALife apart
};

// --- inputs ---
struct FromMember { Incarnation from; ToCoordinator message; };
struct MemberLost { Incarnation who; };  // its connection closed
struct Tick {};
struct Logged { Epoch epoch = 0; };      // the decision that AppendLog carried is durable
using CoordinatorInput = std::variant<FromMember, MemberLost, Tick, Logged>;

// --- actions ---
struct SendToMember { Incarnation to; ToMember message; };
struct AppendLog { Decision decision; };  // answer with Logged; a failed write or fsync ends the coordinator
using CoordinatorAction = std::variant<SendToMember, AppendLog>;
using CoordinatorActions = std::vector<CoordinatorAction>;

class Coordinator {
 public:
  enum class Phase : std::uint8_t { kIdle, kCutting, kWedging, kLevelling, kLogging };

  struct Peer {
    Hello hello;
    bool connected = false;
    Readiness ready = Readiness::kNo;  // of an observer
    std::uint64_t ready_nth = 0;
    bool leaving = false;
    Epoch committed_epoch = 0;  // from heartbeats, for status
    OpId committed = 0;
    bool operator==(const Peer&) const = default;
  };

  Coordinator(CoordinatorConfig config, std::optional<Decision> last, Instant now);
  void on(const CoordinatorInput& input, Instant now, CoordinatorActions& actions);

  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] const std::optional<Decision>& last() const { return last_; }
  [[nodiscard]] const std::map<Incarnation, Peer>& peers() const { return peers_; }
  [[nodiscard]] const std::set<Incarnation>& suspected() const { return suspected_; }
  [[nodiscard]] const CoordinatorConfig& config() const { return config_; }

 private:
  friend struct StateAccess;  // the explorer compares whole states
  using Out = CoordinatorActions;
  void on_message(const Incarnation& from, const Hello& m, Instant now, Out& out);
  void on_message(const Incarnation& from, const Heartbeat& m, Instant now, Out& out);
  void on_message(const Incarnation& from, const Ready& m, Instant now, Out& out);
  void on_message(const Incarnation& from, const Wedged& m, Instant now, Out& out);
  void on_message(const Incarnation& from, const CutDone& m, Instant now, Out& out);
  void on_message(const Incarnation& from, const Level& m, Instant now, Out& out);
  void on_message(const Incarnation& from, const Suspect& m, Instant now, Out& out);
  void on_message(const Incarnation& from, const FailOp& m, Instant now, Out& out);
  void on_message(const Incarnation& from, const AskChange& m, Instant now, Out& out);
  void on_message(const Incarnation& from, const Leave& m, Instant now, Out& out);
  [[nodiscard]] std::optional<Refuse> refusal(const Hello& m) const;
  void refuse_unlike(const Hello& member, Out& out);
  void judge_links(Instant now);
  [[nodiscard]] Duration link_grace() const;
  void back_from_nobody(Instant now);
  void suspect(const Incarnation& who, const std::string& why);

  // coordinator_change.cc: the view change itself
  void step(Instant now, Out& out);
  void step_once(Instant now, Out& out);
  [[nodiscard]] bool change_due() const;
  [[nodiscard]] std::vector<Incarnation> promotable() const;
  [[nodiscard]] Welcome welcome(const Incarnation& to) const;
  [[nodiscard]] std::vector<Incarnation> leavers() const;
  void found(Out& out);
  void start_cut(Out& out);
  void start_wedge(bool planned, Instant now, Out& out);
  void finish_wedge(Instant now, Out& out);
  [[nodiscard]] OpId trim_of(const std::vector<Incarnation>& candidates) const;
  [[nodiscard]] OpId unused_after() const;
  void nothing_decided();
  [[nodiscard]] Fetch fetch() const { return {plan_, config_.log, level_op_, info_of(source_)}; }
  void decide(const std::vector<Incarnation>& stay, const std::vector<Incarnation>& join, bool planned, Out& out);
  [[nodiscard]] static PlaneKind plane_for(const std::vector<MemberInfo>& members);
  void append(Decision decision, Out& out);
  void publish(const Decision& decision, Instant now, Out& out);
  [[nodiscard]] MemberInfo info_of(const Incarnation& inc) const;
  [[nodiscard]] bool is_member(const Incarnation& inc) const { return last_ && last_->view.contains(inc); }

  CoordinatorConfig config_;
  Detector detector_;
  std::optional<Decision> last_;  // durable
  std::map<Incarnation, Peer> peers_;
  std::set<Incarnation> suspected_;  // members of the view
  std::map<Incarnation, Report> reports_;  // of the view's epoch; valid whichever round asked
  std::map<std::pair<Incarnation, Incarnation>, Instant> accusations_;  // link: accuser, accused; since when
  Instant judge_at_ = Instant::never();
  std::map<OpId, FailedOp> fail_requests_;
  bool change_asked_ = false;
  bool ban_shared_ = false;
  std::set<std::string> why_;

  Phase phase_ = Phase::kIdle;
  bool planned_ = false;
  OpId cut_op_ = 0;        // planned: the mark that the first member to cut has committed
  Instant cut_after_{0};   // no new cut before: who was behind the last one's mark needs a moment to get there
  Instant levelling_{0};   // since when the members wait for the joiners
  std::uint64_t round_ = 0;
  std::uint64_t plan_ = 0;
  Instant deadline_ = Instant::never();
  std::set<Incarnation> candidates_;
  OpId level_op_ = 0;
  std::map<Incarnation, std::optional<bool>> joiners_;  // asked to level; true: level, false: failed
  std::set<Incarnation> backoff_;  // joiners that failed to level: not promoted again until they say Ready again
  Incarnation source_;
  Decision pending_;  // handed to AppendLog
};

}  // namespace regroup
