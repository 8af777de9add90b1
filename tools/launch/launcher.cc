#include "tools/launch/launcher.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tools/launch/launcher_loop.h"

namespace regroup::launch {
namespace {

constexpr Duration kTick = Duration::from_ms(5);  // death words are looked at this often
constexpr Duration kCoordinatorBound = Duration::from_s(10);

CoordinatorAddress address_of(const std::string& where, const LaunchOptions& options) {
  const char* secret = std::getenv("REGROUP_SECRET");
  return {where, options.group, secret != nullptr ? secret : ""};
}

}  // namespace

Launcher::Launcher(const LaunchOptions& options, EventLog log, DeathTable table)
    : options_(options),
      log_(std::move(log)),
      table_(std::move(table)),
      book_(options.chaos),
      coordinator_(options.regroup_program, options.group, options.listen),
      ranks_(static_cast<std::size_t>(options.ranks)) {}

Launcher::~Launcher() {
  kill_all();
  for (int i = 0; i < 2500; ++i) {  // a killed process ends soon; bounded all the same
    bool any = false;
    for (Rank& r : ranks_) r.child.poll(), any |= r.child.running();
    if (!any) break;
    ::poll(nullptr, 0, 2);
  }
}

bool Launcher::over() const {
  return std::all_of(ranks_.begin(), ranks_.end(), [](const Rank& r) { return r.finished; });
}

Status Launcher::start_rank(int rank) {
  Rank& r = at(rank);
  table_.reset(static_cast<std::size_t>(rank));
  ChildSetup setup;
  setup.argv = options_.program;
  const std::string number = std::to_string(rank), world = std::to_string(options_.ranks);
  setup.environment = {{"REGROUP_COORDINATOR", address_},
                       {"REGROUP_GROUP", options_.group},
                       {"REGROUP_LAUNCHER", "1"},
                       {"REGROUP_RANK", number},
                       {"RANK", number},
                       {"LOCAL_RANK", number},
                       {"REGROUP_WORLD_SIZE", world},
                       {"WORLD_SIZE", world},
                       {"LOCAL_WORLD_SIZE", world},
                       {DeathTable::kVariable, std::to_string(table_.fd())}};
  if (!options_.transport.empty()) setup.environment["REGROUP_TRANSPORT"] = options_.transport;
  const std::string faults = book_.arm(rank);
  if (!faults.empty())
    setup.environment["REGROUP_FAILPOINTS"] = faults;
  else if (!options_.chaos.empty())
    setup.unset.push_back("REGROUP_FAILPOINTS");
  setup.keep_fd = table_.fd();
  if (options_.prefix) setup.prefix = rank_prefix(rank, ::isatty(1) == 1 && std::getenv("NO_COLOR") == nullptr);
  Result<Child> child = Child::start(setup);
  if (!child) return child.error();
  const int life = r.life + 1;
  r = Rank{};
  r.child = std::move(*child);
  r.life = life;
  event("start", {{"rank", rank}, {"pid", r.child.pid()}, {"life", life}, {"faults", faults}});
  return {};
}

Result<int> Launcher::run() {
  if (Status s = signals_.open(); !s) return s.error();
  address_ = options_.coordinator;
  if (address_.empty()) {
    if (Status s = coordinator_.start(kCoordinatorBound); !s) return s.error();
    address_ = coordinator_.address();
  }
  reporter_.emplace(table_, address_of(address_, options_));
  started_ = now();
  for (int i = 0; i < options_.ranks; ++i)
    if (Status s = start_rank(i); !s) return s.error();
  while (!over()) {
    wait_for_something();
    watch_deaths(now());
    for (Rank& r : ranks_) r.child.out().pump(), r.child.err().pump();
    on_signals();
    watch_ranks();
    watch_coordinator();
    keep_time(now());
  }
  coordinator_.end();
  for (const Fault& fault : book_.pending()) {
    event("unfired", {{"fault", fault.text}});
    say("the fault %s never happened", fault.text.c_str());
  }
  const int status = end_with_.value_or(first_failure_);
  event("end", {{"status", status}});
  return status;
}

void Launcher::wait_for_something() {
  std::vector<pollfd> ends{{signals_.fd(), POLLIN, 0}};
  const auto add = [&](Child& child) {
    for (int fd : {child.out().fd(), child.err().fd()})
      if (fd >= 0) ends.push_back({fd, POLLIN, 0});
  };
  for (Rank& r : ranks_) add(r.child);
  add(coordinator_.child());
  ::poll(ends.data(), ends.size(), static_cast<int>(kTick.ns / 1'000'000));
}

Result<int> launch(const LaunchOptions& options) {
  const auto names_coordinator = [](const Fault& f) { return f.target == kCoordinator; };
  if (!options.coordinator.empty() && std::any_of(options.chaos.begin(), options.chaos.end(), names_coordinator))
    return {Code::kConfig, "a fault of the coordinator needs one that this run starts (no --coordinator)"};
  EventLog log;
  if (!options.events.empty()) {
    Result<EventLog> opened = EventLog::open(options.events);
    if (!opened) return opened.error();
    log = std::move(*opened);
  }
  Result<DeathTable> table = DeathTable::create(static_cast<std::size_t>(options.ranks));
  if (!table) return table.error();
  return Launcher(options, std::move(log), std::move(*table)).run();
}

}  // namespace regroup::launch
