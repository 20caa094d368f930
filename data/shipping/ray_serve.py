"""The same service as replicas of Ray Serve: `pip install "ray[serve]"`, then `serve run ray_serve:app` in this folder.

A sketch: the course does not install Ray, and its tests only see that this file names what the service has.
"""

from ray import serve

from aigc_course import serving


@serve.deployment(
    ray_actor_options={"num_cpus": 1, "memory": 1200 * 2**20},  # set aside for each replica, anywhere in the cluster
    max_ongoing_requests=8,  # of one replica at once; others wait at the proxy
    max_queued_requests=32,  # beyond that the proxy answers 503
    autoscaling_config={"min_replicas": 2, "max_replicas": 8, "target_ongoing_requests": 4},
    graceful_shutdown_timeout_s=90,  # what is at work may end
)
@serve.ingress(serving.create)  # a function, called in each replica: models and queues do not travel
class Imagine:
    """Nothing of its own: all paths are those of `serving.create`."""


app = Imagine.bind()
