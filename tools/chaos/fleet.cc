#include "tools/chaos/fleet.h"

#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "tools/chaos/command.h"

namespace regroup::chaos {
namespace {

constexpr Duration kStartBound = Duration::from_s(20);
constexpr std::string_view kListens = "coordinator ";

// The programs lie beside this one.
std::string program(const char* name) {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / name;
}

void sleep_ms(int ms) { ::poll(nullptr, 0, ms); }

}  // namespace

std::vector<std::string> Fleet::on_host(int host, std::vector<std::string> command) const {
  return setup_.network == nullptr ? command : setup_.network->on(host, command);
}

Status Fleet::start() {
  const char* tmp = std::getenv("TMPDIR");
  folder_ = std::string(tmp != nullptr && *tmp != '\0' ? tmp : "/tmp") + "/regroup-chaos-XXXXXX";
  if (::mkdtemp(folder_.data()) == nullptr) return {Code::kSystem, "no folder " + folder_ + ": " + std::strerror(errno)};
  page_fd_.reset(::memfd_create("regroup-chaos", MFD_CLOEXEC));
  page_ = page_fd_ ? map_page(page_fd_.get(), true) : nullptr;
  if (page_ == nullptr) return {Code::kSystem, std::string("the shared page: ") + std::strerror(errno)};
  Settings& s = page_->settings;
  s.ranks = static_cast<std::uint32_t>(setup_.arguments.members);
  s.seed = setup_.arguments.seed;
  s.max_bytes = setup_.arguments.max_bytes;
  s.depth = setup_.depth;
  s.follow = setup_.follow;
  const bool named = setup_.arena == Arena::kTcp || setup_.arena == Arena::kNccl || setup_.arena == Arena::kUcx;
  const char* transport = named ? name_of(setup_.arena) : "auto";
  std::strncpy(s.transport, transport, sizeof s.transport - 1);
  std::strncpy(s.device, setup_.arguments.device.c_str(), sizeof s.device - 1);
  if (Status started = start_coordinator(); !started.ok()) return started;
  slots_of_.resize(s.ranks);
  for (int rank = 0; rank < setup_.arguments.members; ++rank) {
    auto slot = start_worker(rank);
    if (!slot.ok()) return slot.error();
    name(rank, *slot);
  }
  return {};
}

Status Fleet::start_coordinator() {
  const std::string log = folder_ + "/view-log";
  const bool first = address_.empty();
  const std::string host = setup_.network ? setup_.network->coordinator_address() : "127.0.0.1";
  launch::ChildSetup setup;
  setup.argv = on_host(-1, {program("regroup"), "coordinator", "--log", log, "--listen", first ? host + ":0" : address_});
  if (first) setup.argv.push_back("--create");
  coordinator_.end();  // reaps the one that was killed
  auto process = Process::start(setup);
  if (!process.ok()) return process.error();
  coordinator_ = std::move(*process);
  coordinator_killed_ = false;
  for (const Instant until = now() + kStartBound; first && address_.empty(); sleep_ms(1)) {
    if (coordinator_.poll()) return {Code::kUnavailable, "the coordinator ended:\n" + coordinator_.said()};
    address_ = coordinator_.line_after(kListens);
    if (now() > until) return {Code::kTimeout, "the coordinator does not listen"};
  }
  return {};
}

Result<int> Fleet::start_worker(int rank, const std::string& points) {
  int slot = 0;
  while (workers_.contains(slot)) ++slot;
  if (slot >= static_cast<int>(kMaxSlots)) return Error{Code::kInvalid, "too many workers at once"};
  launch::ChildSetup setup;
  setup.argv = on_host(host_of(rank), {program("regroup-chaos-worker"), std::to_string(page_fd_.get()), std::to_string(slot)});
  setup.environment = {{"REGROUP_COORDINATOR", address_},
                       {"REGROUP_RANK", std::to_string(rank)},
                       {"REGROUP_WORLD_SIZE", std::to_string(setup_.arguments.members)},
                       {"REGROUP_FAILPOINTS", points},
                       {"REGROUP_TRACE_FILE", folder_ + "/trace-" + std::to_string(slot)}};
  setup.unset = {"REGROUP_TRANSPORT", "REGROUP_GROUP", "REGROUP_SECRET"};
  setup.keep_fd = page_fd_.get();
  auto process = Process::start(setup);
  if (!process.ok()) return process.error();
  Worker& w = workers_[slot];
  w.process = std::move(*process);
  w.rank = rank;
  w.started = now();
  return slot;
}

Status Fleet::drain(const OnCommit& on_commit, const OnView& on_view) {
  Status status;
  for (auto it = workers_.begin(); it != workers_.end();) {
    auto& [slot, w] = *it;
    Slot& part = page_->slots[slot];
    const auto ended = w.process.poll();  // before its rings: what it wrote last is read
    part.views.drain([&](const SeenView& v) { on_view(w.rank, w.last_view = v); });
    part.commits.drain([&](const Commit& c) { on_commit(w.rank, w.last = c); });
    if (!ended) {
      ++it;
      continue;
    }
    if (!w.killed && status.ok())
      status = {Code::kSystem, "rank " + std::to_string(w.rank) + " ended (status " + std::to_string(ended->status) +
                                   ") though nobody killed it:\n" + w.process.said()};
    part.in_op.store(0);
    it = workers_.erase(it);
  }
  if (coordinator_.running() && coordinator_.poll() && !coordinator_killed_ && status.ok())
    status = {Code::kSystem, "the coordinator ended though nobody killed it:\n" + coordinator_.said()};
  return status;
}

Instant Fleet::signal(int slot, int signal) {
  const Instant at = now();
  if (auto it = workers_.find(slot); it != workers_.end()) {
    it->second.killed |= signal == SIGKILL;
    it->second.process.send(signal);
  }
  return at;
}

Instant Fleet::kill(int slot) { return signal(slot, SIGKILL); }

Instant Fleet::signal_coordinator(int signal) {
  const Instant at = now();
  coordinator_killed_ |= signal == SIGKILL;
  coordinator_.send(signal);
  return at;
}

Instant Fleet::kill_coordinator() { return signal_coordinator(SIGKILL); }

bool Fleet::coordinated() const {
  auto said = run_command(on_host(-1, {program("regroup"), "status", "--json", "--coordinator", address_}));
  if (!said.ok()) return false;
  const auto status = nlohmann::json::parse(*said, nullptr, false);
  if (!status.is_object() || !status.contains("members") || !status["members"].is_array()) return false;
  int alive = 0;
  for (const auto& member : status["members"]) alive += member.is_object() && member.value("state", "") == "alive";
  return alive == setup_.arguments.members;
}

std::vector<Fleet::Usage> Fleet::usage() const {
  std::vector<Usage> out;
  for (const auto& [slot, w] : workers_) {
    Usage u{w.rank, w.process.pid(), (now() - w.started).ms() / 1000, 0, 0};
    const std::string folder = "/proc/" + std::to_string(u.pid);
    std::ifstream status(folder + "/status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("VmRSS:")) u.rss_mib = std::atof(line.c_str() + 6) / 1024;
    std::error_code gone;
    for (auto it = std::filesystem::directory_iterator(folder + "/fd", gone); !gone && it != std::filesystem::directory_iterator();
         it.increment(gone))
      ++u.descriptors;
    if (u.rss_mib > 0) out.push_back(u);
  }
  return out;
}

std::uint64_t Fleet::lost_views() const {
  std::uint64_t n = 0;
  for (const Slot& slot : page_->slots) n += slot.lost_views.load();
  return n;
}

std::vector<std::string> Fleet::flight_records() {
  const auto files = [this] {
    std::vector<std::string> found;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored))
      if (entry.path().filename().string().starts_with("trace-")) found.push_back(entry.path());
    return found;
  };
  for (auto& [slot, w] : workers_) w.process.send(SIGCONT), w.process.send(SIGUSR1);
  for (int i = 0; i < 100 && files().size() < workers_.size(); ++i) sleep_ms(20);
  sleep_ms(100);  // the last ones are being written
  return files();
}

std::string Fleet::describe() {
  keep_ = true;
  std::string out;
  for (auto& [slot, w] : workers_) {
    out += "  rank " + std::to_string(w.rank) + ": pid " + std::to_string(w.process.pid()) + (w.process.stopped() ? " stopped" : "") +
           ", last commit step " + std::to_string(w.last.step) + " epoch " + std::to_string(w.last.epoch) + " of " +
           std::to_string(w.last.contributors) + ", view " + std::to_string(w.last_view.epoch) + " of " +
           std::to_string(w.last_view.members) + ", in op " + std::to_string(page_->slots[slot].in_op.load()) + "\n" + w.process.said();
  }
  flight_records();
  return out + "  coordinator:\n" + coordinator_.said() + "  log and flight records: " + folder_ + "\n";
}

void Fleet::set_apart(const std::string& name) {
  const std::filesystem::path to = std::filesystem::path(folder_) / name;
  std::error_code ignored;
  std::filesystem::create_directory(to, ignored);
  std::ofstream(to / "processes") << describe();
  for (const std::string& file : flight_records()) std::filesystem::rename(file, to / std::filesystem::path(file).filename(), ignored);
}

Fleet::~Fleet() {
  if (page_ != nullptr) page_->stop.store(1);
  for (auto& [slot, w] : workers_) w.process.send(SIGCONT);
  for (const Instant until = now() + Duration::from_s(2); !workers_.empty() && now() < until; sleep_ms(2)) {
    for (auto& [slot, w] : workers_) w.process.poll();
    std::erase_if(workers_, [](const auto& w) { return !w.second.process.running(); });
  }
  for (auto& [slot, w] : workers_) w.process.end();
  coordinator_.end();
  if (page_ != nullptr) ::munmap(page_, sizeof(Page));
  std::error_code ignored;
  if (!keep_ && !folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

}  // namespace regroup::chaos
