// Member: one incarnation's side of the membership protocol, as a pure state machine.
//
// Input in, actions out: no clock, socket, thread, file or log. The driver (production), the simulator and the explorer
// feed the same object. Total: every state has an answer to every input; what does not fit is ignored.
// Requests that the coordinator may have lost (it restarted, the connection broke) are sent again on every Connected.
// Upholds G6 (installs only decisions of its own log, each exactly one ahead of the last), G7 (a wedge is never taken
// back: between FreezeData and Install nothing is prepared).
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ft/core/messages.h"
#include "ft/core/mutant.h"
#include "ft/core/view.h"

namespace regroup {

struct MemberConfig {
  std::string group;
  MemberInfo self;  // with this incarnation's id
  std::uint64_t config_hash = 0;
  std::string config;
  std::uint32_t world_size = 1;
};

// --- inputs ---
struct Connected {};                       // a new connection to the coordinator stands
struct FromCoordinator { ToMember message; };
struct Parked {                            // observer: the user thread waits in the library, state may be overwritten;
  Readiness how = Readiness::kHold;        // again after LevelReached{ok = false}: it may be asked to fetch again
};
struct Frozen { Report report; };          // the data side's answer to FreezeData
struct CutReached { Epoch epoch = 0; OpId op = 0; };  // the data side committed the mark chosen for CutData
struct LevelReached { std::uint64_t plan = 0; OpId op = 0; bool ok = true; };  // answer to FetchState
struct PeerSuspected { Incarnation who; SuspectKind kind = SuspectKind::kDead; };
struct OpRefused { FailedOp what; };       // mismatch seen, cancel asked, root gone: ask for a decision
struct ChangeWanted { Epoch epoch = 0; bool ban_shared = false; std::string reason; };
struct LeaveWanted {};
using MemberInput = std::variant<Connected, FromCoordinator, Parked, Frozen, CutReached, LevelReached, PeerSuspected,
                                 OpRefused, ChangeWanted, LeaveWanted>;

// --- actions ---
struct SendToCoordinator { ToCoordinator message; };
struct FreezeData { Epoch epoch = 0; };    // stop executing, fence the epoch, answer Frozen
struct InstallData { Decision decision; std::size_t self = 0; };  // settle, fail, redo; enter the new epoch
struct CutData { Epoch epoch = 0; };       // pick the first mark >= prepared, prepare nothing behind it
struct FetchState { Fetch what; };
struct FollowView { Welcome view; };       // observer: the view as it stands, from whose members it may catch up
struct DropCoordinator { std::string why; };  // it is not ours (another log, an older epoch): disconnect, try again later
struct Ended { Code code = Code::kEvicted; std::string detail; };  // this incarnation is over
using MemberAction =
    std::variant<SendToCoordinator, FreezeData, InstallData, CutData, FetchState, FollowView,
                 DropCoordinator, Ended>;
using MemberActions = std::vector<MemberAction>;

class Member {
 public:
  enum class Phase : std::uint8_t { kObserver, kActive, kFreezing, kWedged, kEnded };

  explicit Member(MemberConfig config) : config_(std::move(config)) {}
  void on(const MemberInput& input, MemberActions& actions);

  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] Epoch installed() const { return decision_.view.epoch; }
  [[nodiscard]] const Decision& decision() const { return decision_; }
  [[nodiscard]] LogId log() const { return log_; }
  [[nodiscard]] const MemberConfig& config() const { return config_; }

 private:
  friend struct StateAccess;  // the explorer compares whole states
  void on_connected(MemberActions& out);
  void on_message(const Welcome& m, MemberActions& out);
  void on_message(const Refuse& m, MemberActions& out);
  void on_message(const Wedge& m, MemberActions& out);
  void on_message(const Notice& m, MemberActions& out);
  void on_message(const Fetch& m, MemberActions& out);
  void on_message(const Install& m, MemberActions& out);
  void on_message(const Evicted& m, MemberActions& out);
  bool install(const Decision& decision, MemberActions& out);
  void end(Code code, std::string detail, MemberActions& out);
  [[nodiscard]] bool foreign(LogId log) const {
    return log_ != 0 && log != log_ && !mutant(Mutant::kForeignLog);
  }

  MemberConfig config_;
  Phase phase_ = Phase::kObserver;
  LogId log_ = 0;
  Decision decision_;  // the last one installed; epoch 0: none
  std::optional<Report> report_;
  std::uint64_t round_ = 0;  // of the latest Wedge
  std::uint64_t plan_ = 0;   // of the latest Notice in this epoch
  std::uint64_t fetch_plan_ = 0;  // of the latest Fetch: an answer to an older one says nothing
  bool fetching_ = false;         // and has not been answered
  Epoch followed_ = 0;         // observer: the view that it was told last
  std::optional<OpId> level_;  // observer: the op as of which it holds the state
  Readiness ready_ = Readiness::kNo;  // as last said by Parked; less after a hand-over that failed
  std::uint64_t ready_nth_ = 0;
  bool leaving_ = false;
  // Outstanding requests of this epoch, sent again on Connected.
  std::optional<CutDone> cut_done_;
  std::vector<Suspect> suspects_;
  std::vector<FailedOp> refused_;
  std::optional<AskChange> ask_;
};

}  // namespace regroup
