"""A worker with an instance id asks, before it joins the group anew, whether another process has its place by now.

aiokafka sends heartbeats without the instance id. A broker then answers a member whose place was taken as one whose
session is over: aiokafka would join again and take the place back, the other one likewise, and so on for ever.
"""

from __future__ import annotations

from typing import Any

import aiokafka
from aiokafka import errors
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.group import HeartbeatRequest_v1, HeartbeatResponse_v1, JoinGroupRequest
from aiokafka.protocol.types import Int32, Schema, String


class FencedInstanceId(errors.BrokerResponseError):
    """Another process has joined the group under the instance id of this one. aiokafka does not know this error."""

    errno = 82
    message = "FENCED_INSTANCE_ID"

    def __str__(self) -> str:
        return "another worker has the instance_id of this one: each worker of an app needs its own"

    __repr__ = __str__  # all that aiokafka hands on of an error it does not expect


errors.kafka_errors[FencedInstanceId.errno] = FencedInstanceId


class _HeartbeatResponse_v3(HeartbeatResponse_v1):  # noqa: N801 (aiokafka's way to name versions)
    API_VERSION = 3


class _HeartbeatRequest_v3(RequestStruct):  # noqa: N801
    """The first version of the request that names the instance."""

    API_KEY = HeartbeatRequest_v1.API_KEY
    API_VERSION = 3
    RESPONSE_TYPE = _HeartbeatResponse_v3
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class _InstanceHeartbeat(Request[_HeartbeatRequest_v3]):
    API_KEY = _HeartbeatRequest_v3.API_KEY

    def __init__(self, *fields: Any) -> None:
        self._fields = fields

    def build(self, request_struct_class: type[_HeartbeatRequest_v3]) -> _HeartbeatRequest_v3:
        return request_struct_class(*self._fields)


class StaticMember(aiokafka.AIOKafkaConsumer):
    """A consumer whose place in the group is kept under an instance id. Raises FencedInstanceId where it is taken."""

    async def start(self) -> None:
        await super().start()
        coordinator = self._coordinator
        join = coordinator._do_rejoin_group
        place: tuple[int, str] | None = None

        async def join_unless_fenced(subscription: Any) -> bool:
            nonlocal place
            if place is not None and coordinator.member_id == JoinGroupRequest.UNKNOWN_MEMBER_ID:
                heartbeat = _InstanceHeartbeat(coordinator.group_id, *place, self._group_instance_id)
                try:
                    response = await coordinator._send_req(heartbeat)
                except errors.KafkaError:
                    return False  # no coordinator: aiokafka looks for one, and comes here again
                if response.error_code == FencedInstanceId.errno:
                    raise FencedInstanceId
            joined: bool = await join(subscription)
            if joined:
                place = coordinator.generation, coordinator.member_id
            return joined

        coordinator._do_rejoin_group = join_unless_fenced
