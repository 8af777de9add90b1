#include "tests/conformance/world.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/check.h"

namespace regroup::conformance {

const std::vector<std::string>& transports() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> names;
    const char* given = std::getenv("REGROUP_TEST_TRANSPORTS");
    std::istringstream text(given != nullptr ? given : "shm tcp");
    for (std::string name; text >> name;) names.push_back(name);
    return names;
  }();
  return all;
}

bool in_member_order(const std::string& transport) {
  return transport == "shm" || transport == "tcp:canonical" || transport == "tcp:gather";
}

World::World(std::string transport, int size, Tweak tweak)
    : transport_(std::move(transport)), size_(size), tweak_(std::move(tweak)), groups_(static_cast<std::size_t>(size)) {
  if (const std::size_t colon = transport_.find(':'); colon != std::string::npos) {
    plan_ = transport_.substr(colon + 1);
    transport_.resize(colon);
  }
  std::string folder = (std::filesystem::temp_directory_path() / "regroup-conformance-XXXXXX").string();
  RG_CHECK(::mkdtemp(folder.data()) != nullptr);
  folder_ = folder;
  group_ = std::filesystem::path(folder).filename().string();
  const Status started = start_coordinator();
  RG_CHECK_MSG(started.ok(), started.error().detail.c_str());
}

World::~World() {
  groups_.clear();
  stop_coordinator();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

Status World::start_coordinator() {
  CoordinatorOptions options;
  options.group = group_;
  options.log_file = folder_ + "/views.log";
  options.log = !std::filesystem::exists(folder_ + "/views.log") ? CoordinatorOptions::Log::kCreate : CoordinatorOptions::Log::kOpen;
  if (!address_.empty()) options.listen = address_;
  options.suspicion = Duration::from_ms(3000);  // sanitizers on a loaded machine; deaths are told by other signs
  Result<std::unique_ptr<CoordinatorServer>> server = CoordinatorServer::open(options);
  if (!server) return server.error();
  server_ = std::move(*server);
  address_ = server_->address();
  log_id_ = server_->log_id();
  server_thread_ = std::thread([this] { (void)server_->run().ok(); });
  return {};
}

Status World::forget_log() {
  stop_coordinator();
  std::error_code ignored;
  std::filesystem::remove(folder_ + "/views.log", ignored);
  return start_coordinator();
}

void World::stop_coordinator() {
  if (!server_) return;
  server_->stop();
  server_thread_.join();
  server_.reset();
}

Options World::options(int rank) const {
  Options options;
  options.group = group_;
  options.coordinator = address_;
  options.rank = rank;
  options.world_size = size_;
  options.transport = transport_;
  if (transport_ == "hybrid") {  // two members a "host"
    options.transport = "auto";
    options.host_id = folder_ + std::to_string(rank / 2);
  }
  if (const char* library = std::getenv("REGROUP_NCCL_LIBRARY"); transport_ == "nccl" && library != nullptr) options.nccl_library = library;
  if (plan_ == "canonical")
    options.order = plan_;
  else
    options.plan = plan_;
  options.small_bytes = 4096;
  options.join_timeout_s = kBound_s;
  options.wait_timeout_s = kBound_s;
  options.unavailable_timeout_s = kBound_s;
  if (tweak_) tweak_(rank, options);
  return options;
}

Status World::join(int rank) { return join(rank, options(rank)); }

Status World::join(int rank, Options options) {
  Result<std::unique_ptr<Group>> group = Group::join(std::move(options));
  if (!group) return group.error();
  groups_[static_cast<std::size_t>(rank)] = std::move(*group);
  return {};
}

std::vector<int> World::ranks() const {
  std::vector<int> all;
  for (int rank = 0; rank < size_; ++rank) all.push_back(rank);
  return all;
}

std::string World::start() {
  std::string wrong;
  for (const Status& s : each(ranks(), [this](int rank) { return join(rank); }))
    if (!s) wrong += std::string(code_name(s.error().code)) + ": " + s.error().detail + "; ";
  return wrong;
}

bool eventually(const std::function<bool()>& holds, double bound_s) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(bound_s);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace regroup::conformance
