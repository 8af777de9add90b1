// DeathWatch: sees the deaths of peers of this host; DeathServer: hands our own death page to them.
//
// The server listens at an abstract unix socket whose name follows from the incarnation and sends the page's read-only
// descriptor by SCM_RIGHTS to processes of the same user. The watch fetches the pages of the members of a view, reads
// their words when told to (check), and also waits for their pidfds.
// Threading: both on the control thread. Nothing blocks. Bounded: one page per watched member.
// Certain: a death reported here is one (G5). What is not seen here, the coordinator's detector sees later.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "ft/driver/death_page.h"
#include "ft/driver/poller.h"

namespace regroup {

[[nodiscard]] std::string death_socket_name(const Incarnation& inc);

class DeathServer {
 public:
  explicit DeathServer(Poller& poller) : poller_(poller) {}
  ~DeathServer() { close(); }
  [[nodiscard]] Status open(const Incarnation& inc, int page_fd);
  void close();

 private:
  void accept_all();
  Poller& poller_;
  Fd listener_;
  int page_fd_ = -1;
};

class DeathWatch {
 public:
  struct Target {
    Incarnation inc;
    std::string socket;  // MemberAddress::death_socket
  };
  // `on_death` is called once per watched incarnation, from check() or the poller.
  DeathWatch(Poller& poller, std::function<void(const Incarnation&)> on_death)
      : poller_(poller), on_death_(std::move(on_death)) {}
  ~DeathWatch() { watch({}); }
  // Watches exactly these from now on.
  void watch(const std::vector<Target>& targets);
  // Reads every word; retries what could not be fetched yet.
  void check();
  // After deaths were passed on: what is left of those processes is set back (dying.h).
  void quieten();
  [[nodiscard]] bool known_alive(const Incarnation& inc) const;  // its page is mapped and its word held
  [[nodiscard]] bool known_dead(const Incarnation& inc) const;

 private:
  struct Peer {
    std::string socket_name;
    Fd socket;  // while the page is being fetched
    Fd pidfd;
    pid_t pid = 0;  // of that process
    SlotMap page;
    int attempts = 0;
    bool dead = false;
    bool failed = false;  // could not be mapped: its word is not watched
  };
  void fetch(const Incarnation& inc, Peer& peer);
  void receive(const Incarnation& inc);
  void dead(const Incarnation& inc);
  void drop(Peer& peer);
  Poller& poller_;
  std::function<void(const Incarnation&)> on_death_;
  std::map<Incarnation, std::unique_ptr<Peer>> peers_;
  std::vector<std::pair<pid_t, Fd>> dying_;  // found dead since quieten()
};

// Asks, blocking for at most `bound`, whether the incarnation lives on this host.
[[nodiscard]] bool lives_here(const Incarnation& inc, const std::string& socket, Duration bound);

}  // namespace regroup
