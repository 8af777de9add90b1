#include "tools/launch/event_log.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

namespace regroup::launch {

Result<EventLog> EventLog::open(const std::string& path) {
  EventLog log;
  log.fd_.reset(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644));
  if (!log.fd_) return {Code::kSystem, "events file " + path + ": " + std::strerror(errno)};
  return log;
}

void EventLog::write(Instant at, const char* name, const nlohmann::json& fields) {
  if (!fd_ || failed_) return;
  nlohmann::ordered_json line;
  line["time_ns"] = at.ns;
  line["event"] = name;
  for (const auto& [key, value] : fields.items()) line[key] = value;
  const std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (::write(fd_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    failed_ = true;
    std::fprintf(stderr, "regroup: events file: %s; no more events are written\n", std::strerror(errno));
  }
}

}  // namespace regroup::launch
