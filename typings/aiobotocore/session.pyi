from contextlib import AbstractAsyncContextManager
from typing import Literal

from types_aiobotocore_dynamodb import DynamoDBClient

from .config import AioConfig

class AioSession:
    def create_client(
        self,
        service_name: Literal["dynamodb"],
        region_name: str | None = ...,
        *,
        endpoint_url: str | None = ...,
        config: AioConfig | None = ...,
        aws_access_key_id: str | None = ...,
        aws_secret_access_key: str | None = ...,
    ) -> AbstractAsyncContextManager[DynamoDBClient]: ...

def get_session() -> AioSession: ...
