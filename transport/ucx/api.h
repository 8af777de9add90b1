// Api: the functions of libucp that this room calls, found at run time, so that a program that never asks for UCX neither
// needs nor loads it (loading it installs signal handlers, see UCX_ERROR_SIGNALS). One table a process, made on first use;
// the library is never unloaded. Thread-safe. kUnsupported names what is missing or too old.
#pragma once

#include <ucp/api/ucp.h>

#include <cstdio>
#include <functional>
#include <string>

#include "base/result.h"

namespace regroup::ucx {

// The one list of them: member of the table, and name in the library.
#define REGROUP_UCP_FUNCTIONS(F)                                                                              \
  F(ucp_get_version) F(ucp_init_version) F(ucp_cleanup) F(ucp_config_read) F(ucp_config_modify)               \
  F(ucp_config_release) F(ucp_context_print_info) F(ucp_context_query) F(ucp_worker_create) F(ucp_worker_destroy)                  \
  F(ucp_worker_get_address) F(ucp_worker_release_address) F(ucp_worker_get_efd) F(ucp_worker_arm)             \
  F(ucp_worker_progress) F(ucp_worker_set_am_recv_handler) F(ucp_listener_create) F(ucp_listener_query)       \
  F(ucp_listener_reject) F(ucp_listener_destroy) F(ucp_ep_create) F(ucp_ep_close_nbx) F(ucp_ep_print_info) F(ucp_am_send_nbx)        \
  F(ucp_am_recv_data_nbx) F(ucp_am_data_release) F(ucp_request_free) F(ucs_status_string)

struct Api {
#define REGROUP_UCP_MEMBER(name) decltype(&::name) name = nullptr;
  REGROUP_UCP_FUNCTIONS(REGROUP_UCP_MEMBER)
#undef REGROUP_UCP_MEMBER
};

[[nodiscard]] Result<const Api*> load();

// What UCX writes to a stream.
[[nodiscard]] std::string printed(const std::function<void(std::FILE*)>& print);

}  // namespace regroup::ucx
