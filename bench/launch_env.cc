#include "bench/launch_env.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "bench/clock.h"

namespace regroup::bench {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// A port that was free a moment ago; 0: there is none.
int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return 0;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                     ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  ::close(fd);
  return bound ? ntohs(address.sin_port) : 0;
}

// Rank 0 picks a port and says it in a file of this mpirun's own folder, where the others wait for it.
Result<std::string> agree_on_port(bool first, const std::string& folder, double bound_s) {
  const std::string path = folder + "/regroup-bench-port";
  if (first) {
    const std::string port = std::to_string(free_port());
    const std::string part = path + ".part";
    std::ofstream(part) << port << '\n';
    std::error_code failed;
    std::filesystem::rename(part, path, failed);
    if (failed) return {Code::kSystem, path + ": " + failed.message()};
    return port;
  }
  for (const double until = now_s() + bound_s; now_s() < until; ::poll(nullptr, 0, 5)) {
    std::string port;
    if (std::ifstream in(path); in >> port) return port;
  }
  return {Code::kTimeout,
          "rank 0 did not come within " + std::to_string(static_cast<int>(bound_s)) + " s (" + path + ")"};
}

}  // namespace

Status adopt_launcher_environment(double bound_s) {
  if (!variable("REGROUP_RANK").empty() || !variable("RANK").empty()) return {};
  static constexpr struct {
    const char* rank;
    const char* size;
  } kManagers[] = {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, {"PMI_RANK", "PMI_SIZE"}};
  for (const auto& manager : kManagers) {
    const std::string rank = variable(manager.rank), size = variable(manager.size);
    if (rank.empty() || size.empty()) continue;
    ::setenv("RANK", rank.c_str(), 1);
    ::setenv("WORLD_SIZE", size.c_str(), 1);
    if (!variable("REGROUP_COORDINATOR").empty() || !variable("MASTER_ADDR").empty()) return {};
    const std::string folder = variable("PMIX_SERVER_TMPDIR");
    if (folder.empty() || variable("OMPI_COMM_WORLD_LOCAL_SIZE") != size) {
      return {Code::kConfig,
              "the ranks are on several hosts, or not started by Open MPI: give mpirun -x MASTER_ADDR=… "
              "-x MASTER_PORT=… (rank 0's host and a free port)"};
    }
    auto port = agree_on_port(rank == "0", folder, bound_s);
    if (!port.ok()) return port.error();
    ::setenv("MASTER_ADDR", "127.0.0.1", 1);
    ::setenv("MASTER_PORT", port->c_str(), 1);
    return {};
  }
  return {};
}

}  // namespace regroup::bench
